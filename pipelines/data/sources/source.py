"""What every source can do: be read, say whether it has changed, take a date, and check itself."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pipelines.usecase.sources import SourceSettings

if TYPE_CHECKING:
    import pyarrow as pa

Settings = TypeVar("Settings", bound=SourceSettings)


class Source(ABC, Generic[Settings]):
    """A place that rows come from. Only `read` must be written; the other methods have a default that is right.

    `settings` is the model of the section `data.source` for this type. `section` holds one use case's values of it,
    and `folder` is that use case's folder, where relative paths start.
    """

    settings: ClassVar[type[SourceSettings]]

    def __init__(self, section: Settings, folder: Path) -> None:
        self.section = section
        self.folder = folder

    @abstractmethod
    def read(self, as_of: datetime | None) -> pa.Table:
        """All rows. `as_of` is the run's date, for a source that can ask for the data as it was then."""

    def fingerprint(self, time: str | None) -> str:  # noqa: ARG002 - for sources that ask for the newest time
        """64 hex digits, the same as long as the source is. `time` is the name of the column `data.time`.

        The content itself by default; override it where the source can be asked more cheaply.
        """
        return hash_table(self.read(None))

    def takes_as_of(self) -> bool:
        """Whether `read` uses the run's date."""
        return False

    def check(self) -> None:
        """Raise a MlopsError for what can be seen to be wrong without reading the rows; `mlops check` asks."""


def hash_facts(facts: Sequence[Any]) -> str:
    """A fingerprint of what JSON can say."""
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def hash_table(table: pa.Table) -> str:
    """A fingerprint of the values, however they are cut into chunks."""
    import pyarrow as pa

    digest = hashlib.sha256(table.schema.remove_metadata().to_string().encode())
    sink = pa.BufferOutputStream()
    whole = table.replace_schema_metadata(None).combine_chunks()
    with pa.ipc.new_stream(sink, whole.schema) as writer:
        writer.write_table(whole)
    digest.update(sink.getvalue())
    return digest.hexdigest()
