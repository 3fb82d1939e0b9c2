"""The runs of this machine, read again only when they have gone on: the page and the metrics are asked for often."""

from __future__ import annotations

import re
import threading
from collections import defaultdict
from pathlib import Path

from pydantic import ValidationError

from pipelines.errors import MlopsError
from pipelines.runs.journal import JOURNAL_FILE
from pipelines.runs.run import Run, read_run

RUN_ID = re.compile(r"(?P<usecase>[a-z0-9-]+)-[0-9]{8}-[0-9]{6}-[0-9a-f]+")
SHOWN = 20

Version = tuple[int, int]


class KnownRuns:
    """The newest runs of each use case in the state folder. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._guard = threading.Lock()
        self._listed_at: int | None = None
        self._names: dict[str, list[str]] = {}
        self._read: dict[str, tuple[Version, Run]] = {}

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

    def _list(self) -> None:
        """Run ids say their use case and their time."""
        try:
            changed = self.folder.stat().st_mtime_ns
        except OSError:
            self._names, self._listed_at = {}, None
            return
        if changed == self._listed_at:
            return
        names: dict[str, list[str]] = defaultdict(list)
        for path in sorted(self.folder.iterdir(), reverse=True):
            if match := RUN_ID.fullmatch(path.name):
                names[match["usecase"]].append(path.name)
        self._names, self._listed_at = names, changed
        self._read = {name: kept for name, kept in self._read.items() if (self.folder / name).exists()}

    def _run(self, name: str) -> Run | None:
        """None for a folder that is no run, or not yet one."""
        try:
            version = self._version(name)
            known = self._read.get(name)
            if known and known[0] == version and known[1].outcome != "running":  # its process may have died
                return known[1]
            run = read_run(self.folder / name)
        except (OSError, MlopsError, ValidationError):
            return None
        self._read[name] = version, run
        return run

    def _version(self, name: str) -> Version:
        journal = self.folder / name / JOURNAL_FILE
        if not journal.exists():
            return 0, 0
        stat = journal.stat()
        return stat.st_mtime_ns, stat.st_size
