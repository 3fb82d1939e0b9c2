"""The journal of a run: a file of JSON lines, appended to by each step."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pipelines.documents import Document

JOURNAL_FILE = "journal.jsonl"


class Record(Document):
    """One thing a step says: that it began, ended well or failed, with what it wants remembered."""

    KIND = "run-record"

    step: str
    event: Literal["started", "finished", "failed", "run"]
    time: float
    seconds: float | None = None
    summary: str = ""
    params: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    tags: dict[str, str] = {}
    artifacts: dict[str, str] = {}
    aliases: dict[str, str] = {}
    result: dict[str, Any] | None = None


class Journal:
    """The records of one run, in the order they were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / JOURNAL_FILE

    def append(self, record: Record) -> None:
        """Add a record. A line that a crash cut off is removed first: it would swallow this one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            _remove_torn_line(file.fileno())
            file.write((record.to_json(exclude_defaults=True) + "\n").encode())

    def records(self, start: int = 0) -> list[Record]:
        """All complete records from the `start`-th on; a line cut off by a crash is left out."""
        return [record for record, _ in self.entries()][start:]

    def entries(self, offset: int = 0) -> Iterator[tuple[Record, int]]:
        """The complete records from the byte `offset` on, each with the offset of what follows it."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                yield Record.parse(line, str(self.path)), offset

    def last(self, step: str, event: str = "finished") -> Record | None:
        found = [record for record in self.records() if record.step == step and record.event == event]
        return found[-1] if found else None


class JournalTail:
    """Follows a journal as it grows: each `read` gives the records that were not there at the one before."""

    def __init__(self, folder: Path) -> None:
        self._journal = Journal(folder)
        self._offset = 0

    def read(self) -> list[Record]:
        found = list(self._journal.entries(self._offset))
        if found:
            self._offset = found[-1][1]
        return [record for record, _ in found]


def _remove_torn_line(file: int) -> None:
    size = os.fstat(file).st_size
    if not size or os.pread(file, 1, size - 1) == b"\n":
        return
    whole = os.pread(file, size, 0)
    os.ftruncate(file, whole.rfind(b"\n") + 1)
