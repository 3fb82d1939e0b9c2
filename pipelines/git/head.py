"""The commit that a branch points to, cheap enough to ask several times a second."""

import time
from pathlib import Path

from pipelines.git.repository import Repository

REMOTE_SECONDS = 5.0


class Head:
    """The branch's commit on the remote. A bare repository on this disk is read as a file, without starting git."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self._known: str | None = None
        self._asked = float("-inf")

    def read(self) -> str | None:
        """The commit, None without such a branch; raises RemoteUnreachable. A remote elsewhere is asked every 5 s."""
        local = self._in_file()
        if local is not None:
            return local
        if Path(self.repository.remote).is_dir() or time.monotonic() - self._asked >= REMOTE_SECONDS:
            self._asked = time.monotonic()
            self._known = self.repository.remote_head()
        return self._known

    def _in_file(self) -> str | None:
        """A loose reference is one file; a packed one is left to git."""
        try:
            text = (Path(self.repository.remote) / "refs" / "heads" / self.repository.branch).read_text("ascii").strip()
        except (OSError, ValueError):
            return None
        return text if len(text) >= 40 and all(digit in "0123456789abcdef" for digit in text) else None
