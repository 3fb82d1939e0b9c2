"""The runs of this machine, read again only when they have changed: the page and the metrics are asked for often."""

from __future__ import annotations

import threading
from collections import defaultdict
from pathlib import Path

from pipelines.runs.index import RUN_ID, UNREADABLE, UnreadableRun, describe_unreadable, newest_names
from pipelines.runs.journal import JOURNAL_FILE
from pipelines.runs.run import REQUEST_FILE, Run, read_run

SHOWN = 20

FileVersion = tuple[int, int, int]


class KnownRuns:
    """The newest runs of each use case in the state folder. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._guard = threading.Lock()
        self._listed_at: int | None = None
        self._names: dict[str, list[str]] = {}
        self._read: dict[str, tuple[FileVersion, Run | UnreadableRun]] = {}

    def __call__(self, usecase: str) -> list[Run]:
        """The newest first."""
        with self._guard:
            self._list()
            found = [self._run(name) for name in self._names.get(usecase, [])[:SHOWN]]
        return [run for run in found if run]

    def step_seconds(self, run_id: str) -> dict[str, float]:
        """How long each step of a run worked; nothing of one that is not on this machine."""
        with self._guard:
            run = self._run(run_id)
        return run.steps if run else {}

    def unreadable(self) -> list[UnreadableRun]:
        """The folders that were skipped so far, and why."""
        with self._guard:
            return [known for _, known in self._read.values() if isinstance(known, UnreadableRun)]

    def _list(self) -> None:
        """Run ids name their use case and their time."""
        try:
            changed = self.folder.stat().st_mtime_ns
        except OSError:
            self._names, self._listed_at, self._read = {}, None, {}
            return
        if changed == self._listed_at:
            return
        names: dict[str, list[str]] = defaultdict(list)
        listed = newest_names(self.folder)
        for name in listed:
            if match := RUN_ID.fullmatch(name):
                names[match["usecase"]].append(name)
        there = set(listed)
        self._names, self._listed_at = names, changed
        self._read = {name: kept for name, kept in self._read.items() if name in there}

    def _run(self, name: str) -> Run | None:
        """None for a folder that is no run, or not yet one, or cannot be read."""
        version = self._version(name)
        if version is None:
            self._read.pop(name, None)
            return None
        known = self._read.get(name)
        if known is None or known[0] != version or _may_change(known[1]):
            known = self._read[name] = version, self._look(name)
        return known[1] if isinstance(known[1], Run) else None

    def _look(self, name: str) -> Run | UnreadableRun:
        try:
            return read_run(self.folder / name)
        except UNREADABLE as error:
            return UnreadableRun(name, describe_unreadable(error))

    def _version(self, name: str) -> FileVersion | None:
        """Of what a run is read from; None without a request."""
        try:
            requested = (self.folder / name / REQUEST_FILE).stat().st_mtime_ns
        except OSError:
            return None
        try:
            stat = (self.folder / name / JOURNAL_FILE).stat()
        except OSError:
            return requested, 0, 0
        return requested, stat.st_mtime_ns, stat.st_size


def _may_change(known: Run | UnreadableRun) -> bool:
    """A process may have died, and no file says so."""
    return isinstance(known, Run) and known.outcome == "running"
