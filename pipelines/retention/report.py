"""What a clean found, by kind: how much went, how much was kept, and why."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from pipelines.documents import Value

RetentionKind = Literal["runs", "temporary", "reports", "bentos", "snapshots", "logs"]


class KindReport(Value):
    """One kind. Sizes are bytes; `kept_because` counts what was kept by the reason."""

    kind: RetentionKind
    removed: int = 0
    removed_bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0
    kept_because: dict[str, int] = {}


class CleanReport(Value):
    """What was removed, or with `dry_run` would be."""

    time: datetime
    dry_run: bool
    kinds: list[KindReport]
    problems: list[str] = Field([], description="What could not be listed or removed, and was kept.")

    @property
    def removed_bytes(self) -> int:
        """Of all kinds together."""
        return sum(kind.removed_bytes for kind in self.kinds)
