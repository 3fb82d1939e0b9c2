"""What every verb is given: where the checkout and the state are."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.settings import Settings


class Context:
    """Settings are read when a verb needs them, so that --help works anywhere."""

    def __init__(self, root: Path | None, home: Path | None) -> None:
        self._root, self._home = root, home

    @property
    def settings(self) -> "Settings":
        from pipelines.settings import Settings

        return Settings.load(root=self._root, home=self._home)
