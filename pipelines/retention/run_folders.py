"""Run folders: the whole of an old one, or what its steps handed to each other."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from pipelines.retention.items import RetentionItem, hidden_items, modified, remove_folder, size_of, young
from pipelines.retention.needed import Needed
from pipelines.retention.rules import RetentionRules
from pipelines.runs.index import OPEN_FOLDER, RUN_ID, UNREADABLE, close_run, mark_open, newest_names, open_runs
from pipelines.runs.journal import JOURNAL_FILE, Journal
from pipelines.runs.run import REMOTE_FILE, REQUEST_FILE, is_worked_on
from pipelines.runs.tracking import PUBLISHED_FILE, Published, has_unpublished

TEMPORARY = ("artifacts", "cache")
UNKNOWN = "what releases need is not known"
CANNOT_BE_READ = "it cannot be read"
UNPUBLISHED = "its journal is not published yet"


@dataclass
class RunFolders:
    """The run folders of one state folder. `needed` is None where it could not be found out.

    After `items`, `snapshots` holds the hashes of the snapshots that kept runs used.
    """

    runs: Path
    needed: Needed | None
    rules: RetentionRules
    now: datetime
    snapshots: set[str] = field(default_factory=set)
    _kept: list[tuple[Path, str | None]] = field(default_factory=list)

    def items(self) -> Iterator[RetentionItem]:
        """Every run, the newest first."""
        yield from hidden_items(self.runs)
        markers = open_runs(self.runs)
        seen: set[str] = set()
        for name in newest_names(self.runs):
            folder = self.runs / name
            match = RUN_ID.fullmatch(name)
            usecase = match["usecase"] if match else name
            try:
                kept = self._why_kept(folder, is_newest=usecase not in seen)
            except UNREADABLE:
                kept = CANNOT_BE_READ
            seen.add(usecase)
            if kept:
                self._remember(folder, is_open=name in markers)

            def remove(folder: Path = folder, name: str = name) -> None:
                remove_folder(folder)
                close_run(markers.get(name, []))

            yield RetentionItem(name, size_of(folder), kept, remove)

    def temporary_items(self) -> Iterator[RetentionItem]:
        """The temporary models and caches inside the runs that `items` kept."""
        for folder, busy in self._kept:
            last_used = self._last_used(folder)
            for path in (folder / name for name in TEMPORARY):
                if path.is_dir():
                    kept = busy or young(last_used, self.now, self.rules.temporary)
                    yield RetentionItem(f"{folder.name}/{path.name}", size_of(path), kept, partial(remove_folder, path))
            yield from hidden_items(folder)

    def _why_kept(self, folder: Path, *, is_newest: bool) -> str | None:
        if recent := young(self._last_used(folder), self.now, self.rules.runs):
            return recent
        if not (folder / REQUEST_FILE).exists():
            return None  # no run, and nobody is making one of it
        if busy := _busy(folder):
            return busy
        return "the newest of its use case" if is_newest else self._why_needed(folder)

    def _why_needed(self, folder: Path) -> str | None:
        if self.needed is None:
            return UNKNOWN
        published = folder / PUBLISHED_FILE
        is_needed = published.exists() and Published.read(published).mlflow_run in self.needed.runs
        return "a release came from it" if is_needed else None

    def _remember(self, folder: Path, *, is_open: bool) -> None:
        busy = _busy(folder) if (folder / REQUEST_FILE).exists() else "being made"
        self._kept.append((folder, busy))
        try:
            record = Journal(folder).last("snapshot")
        except UNREADABLE:
            return
        if record and record.result and (sha256 := record.result.get("sha256")):
            self.snapshots.add(str(sha256))
        if busy == UNPUBLISHED and not is_open and (self.runs / OPEN_FOLDER).is_dir():
            mark_open(self.runs, folder.name)

    def _last_used(self, folder: Path) -> datetime:
        times = [modified(folder / name) for name in (JOURNAL_FILE, REQUEST_FILE)]
        return max((time for time in times if time), default=modified(folder) or self.now)


def _busy(folder: Path) -> str | None:
    """Why nothing of a run may go, however old it is."""
    if is_worked_on(folder):
        return "under way"
    if (folder / REMOTE_FILE).exists():
        return None
    try:
        return UNPUBLISHED if has_unpublished(folder) else None
    except UNREADABLE:
        return CANNOT_BE_READ
