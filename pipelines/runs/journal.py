"""The journal of a run: a file of JSON lines, appended to by each step."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pipelines.documents import Document

if TYPE_CHECKING:
    pass


JOURNAL_FILE = "journal.jsonl"


class Record(Document):
    """One thing a step says: that it began, ended well or failed, with what it wants remembered."""

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
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(record.model_dump_json(exclude_defaults=True) + "\n")

    def records(self, start: int = 0) -> list[Record]:
        """All complete records from the `start`-th on; a line cut off by a crash is left out."""
        return list(self._records())[start:]

    def last(self, step: str, event: str = "finished") -> Record | None:
        found = [record for record in self._records() if record.step == step and record.event == event]
        return found[-1] if found else None

    def _records(self) -> Iterator[Record]:
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield Record.model_validate_json(line)
