"""Remove what is old and needed by nothing. Killed anywhere, it leaves nothing half there, and may be run again."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipelines.documents import write_atomically
from pipelines.errors import MlopsError
from pipelines.retention.files import log_items, report_items
from pipelines.retention.items import RetentionItem
from pipelines.retention.needed import Needed, needed_by_releases
from pipelines.retention.report import CleanReport, KindReport, RetentionKind
from pipelines.retention.rules import RetentionRules
from pipelines.retention.run_folders import RunFolders
from pipelines.retention.stores import bento_items, snapshot_items
from pipelines.runs.index import UNREADABLE, describe_unreadable
from pipelines.settings import Settings

CLEANED_FILE = "cleaned-at"
LOCK_FILE = "clean.lock"
EVERY = timedelta(days=1)


class CleanInProgress(MlopsError):
    """Another clean of the same state folder is under way."""


def clean(
    settings: Settings, rules: RetentionRules, *, dry_run: bool = False, now: datetime | None = None
) -> CleanReport:
    """Remove what the rules let go, or only say what that would be.

    Where the releases in Git cannot be read, nothing that one might need is removed.

    Raises:
        CleanInProgress: one at a time.
    """
    from filelock import FileLock, Timeout

    settings.home.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(settings.home / LOCK_FILE, timeout=0):
            report = _Clean(settings, rules, now or datetime.now(UTC), dry_run=dry_run).report()
            if not dry_run:
                write_atomically(settings.home / CLEANED_FILE, report.time.isoformat())
            return report
    except Timeout:
        raise CleanInProgress(f"another clean of {settings.home} is under way", hint="wait for it") from None


def is_due(settings: Settings, now: datetime) -> bool:
    """Whether the last clean is a day ago."""
    try:
        last = datetime.fromisoformat((settings.home / CLEANED_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return now - last >= EVERY


class _Clean:
    """One pass over everything."""

    def __init__(self, settings: Settings, rules: RetentionRules, now: datetime, *, dry_run: bool) -> None:
        self.settings, self.rules, self.now, self.dry_run = settings, rules, now, dry_run
        self.problems: list[str] = []

    def report(self) -> CleanReport:
        settings, rules, now = self.settings, self.rules, self.now
        needed = self._needed()
        folders = RunFolders(settings.runs, needed, rules, now)
        shelves: list[tuple[RetentionKind, Callable[[], Iterable[RetentionItem]]]] = [
            ("runs", folders.items),
            ("temporary", folders.temporary_items),
            ("reports", lambda: report_items(settings.home, rules, now)),
            ("bentos", lambda: bento_items(settings.bentos, needed, rules, now)),
            ("snapshots", lambda: snapshot_items(settings.snapshots, needed, folders.snapshots, rules, now)),
            ("logs", lambda: log_items(settings.home, rules, now)),
        ]
        kinds = [self._go_through(kind, items) for kind, items in shelves]
        return CleanReport(time=now, dry_run=self.dry_run, kinds=kinds, problems=self.problems)

    def _needed(self) -> Needed | None:
        """None where Git cannot be asked."""
        settings = self.settings
        if settings.remote == str(settings.home / "origin.git") and not Path(settings.remote).exists():
            return Needed(frozenset(), frozenset(), frozenset())  # nothing was ever released here
        try:
            return needed_by_releases(settings, self.rules.releases)
        except MlopsError as error:
            self.problems.append(f"what releases need is not known, so nothing that one may need goes: {error.message}")
            return None

    def _go_through(self, kind: RetentionKind, items: Callable[[], Iterable[RetentionItem]]) -> KindReport:
        removed: Counter[str] = Counter()
        kept_because: Counter[str] = Counter()
        kept_bytes = 0
        try:
            for item in items():
                why = item.kept or self._remove(kind, item)
                if why:
                    kept_because[why] += 1
                    kept_bytes += item.size
                else:
                    removed.update(count=1, size=item.size)
        except UNREADABLE as error:
            self.problems.append(f"{kind}: {describe_unreadable(error)}")
        return KindReport(
            kind=kind,
            removed=removed["count"],
            removed_bytes=removed["size"],
            kept=kept_because.total(),
            kept_bytes=kept_bytes,
            kept_because=dict(kept_because.most_common()),
        )

    def _remove(self, kind: RetentionKind, item: RetentionItem) -> str | None:
        """Why it could not be removed."""
        if self.dry_run:
            return None
        try:
            item.remove()
        except FileNotFoundError:
            return None  # gone already
        except Exception as error:  # noqa: BLE001 - each store has errors of its own; the next item may go
            self.problems.append(f"{kind}: {item.name} could not be removed: {describe_unreadable(error)}")
            return "it could not be removed"
        return None
