"""Runs on this machine: `mlops run NAME --reason …` as a child process whose log is kept.

    <home>/logs/triggers/<trigger>-<attempt>.log

The child does not end with the monitor. The log is there from the moment that an attempt begins, and names the run: so
a monitor that is started again follows the run that is under way instead of beginning another one.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from pipelines.retraining.triggers import RunOutcome, TriggerRecord
from pipelines.runs.index import list_runs
from pipelines.runs.replay import replay_day
from pipelines.runs.run import Run, RunNotFound, is_locked, lock_path, read_run
from pipelines.settings import Settings

POLL_SECONDS = 0.2
LONGEST_RUN = timedelta(hours=12)
NAMED_WITHIN = timedelta(seconds=60)
STILL_FOR = timedelta(seconds=30)
KEPT_LOGS = 200

Found = TypeVar("Found")
ToldRun = Callable[[TriggerRecord, str], None]


@dataclass(frozen=True)
class LocalRunner:
    """Runs the pipeline as `mlops run` does. `told_run` hears the run's id as soon as it is known."""

    settings: Settings
    told_run: ToldRun = lambda _record, _run_id: None
    longest: timedelta = LONGEST_RUN

    def __call__(self, record: TriggerRecord) -> RunOutcome:
        """Begin the attempt's run, or follow it where it has begun, until it ends."""
        log = self.log_of(record)
        if log.exists():
            return self._follow(record, log)
        if is_locked(lock_path(self.settings.runs, record.usecase)):
            return RunOutcome(outcome="busy", note="a run that was started by hand is under way")
        return self._begin(record, log)

    def log_of(self, record: TriggerRecord) -> Path:
        return self.settings.logs / "triggers" / f"{record.id}-{record.attempts}.log"

    def _begin(self, record: TriggerRecord, log: Path) -> RunOutcome:
        log.parent.mkdir(parents=True, exist_ok=True)
        _tidy(log.parent)
        with log.open("xb") as output:
            child = subprocess.Popen(
                command(record, replay_day(self.settings.home)),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.settings.root,
                env=self._environment(),
                start_new_session=True,
            )
        end = time.monotonic() + self.longest.total_seconds()
        told = None
        while child.poll() is None:
            if told is None and (told := run_named_in(log)):
                self.told_run(record, told)
            if time.monotonic() > end:
                _stop(child)
                return RunOutcome(outcome="failed", run_id=told, note=f"stopped after {self.longest}")
            time.sleep(POLL_SECONDS)
        return self._outcome(log, _last_words(log))

    def _follow(self, record: TriggerRecord, log: Path) -> RunOutcome:
        """A run that another monitor began."""
        run_id = _await(lambda: run_named_in(log), NAMED_WITHIN)
        if run_id is None:
            return RunOutcome(outcome="failed", note="the monitor was stopped before the run began")
        self.told_run(record, run_id)
        ended = _await(_Ending(lambda: self._read(run_id)), self.longest)
        why = "the monitor was stopped, and the run with it" if ended else f"not over in {self.longest}"
        return self._outcome(log, why)

    def _outcome(self, log: Path, otherwise: str) -> RunOutcome:
        run_id = run_named_in(log)
        run = self._read(run_id) if run_id else None
        if run is None or run.outcome in ("running", "interrupted"):
            return RunOutcome(outcome="failed", run_id=run_id, note=otherwise)
        if run.outcome == "failed":
            return RunOutcome(outcome="failed", run_id=run_id, note=f"{run.failed_step}: {run.error}")
        return RunOutcome(outcome=run.outcome, run_id=run_id)

    def _read(self, run_id: str) -> Run | None:
        try:
            return read_run(self.settings.runs / run_id)
        except RunNotFound:
            return None

    def _environment(self) -> dict[str, str]:
        known = {"MLOPS_ROOT": str(self.settings.root), "MLOPS_HOME": str(self.settings.home)}
        return {**os.environ, **known, "PYTHONUNBUFFERED": "1", "COLUMNS": "200"}


class _Ending:
    """Whether a run has ended. One that has only just begun looks interrupted until its process is known."""

    def __init__(self, read: Callable[[], Run | None]) -> None:
        self._read = read
        self._still_since = time.monotonic()

    def __call__(self) -> bool | None:
        run = self._read()
        if run is None or run.outcome == "interrupted":
            return True if time.monotonic() - self._still_since > STILL_FOR.total_seconds() else None
        self._still_since = time.monotonic()
        return None if run.outcome == "running" else True


def command(record: TriggerRecord, as_of: datetime | None = None) -> list[str]:
    """What is run: production is never released to directly, so its cause trains what staging gets first."""
    environment = "staging" if record.environment == "production" else record.environment
    asked = ["--environment", environment, "--reason", record.sentence, "--no-wait"]
    if as_of:
        asked += ["--as-of", f"{as_of:%Y-%m-%d}"]
    return [sys.executable, "-m", "pipelines.cli", "run", record.usecase, *asked]


def last_local_run(settings: Settings, usecase: str) -> datetime | None:
    """When the newest run on this machine ended, whoever began it; None while it is under way, or without any."""
    newest = next(iter(list_runs(settings.runs, usecase, limit=1)), None)
    if newest is None or newest.outcome == "running":
        return None
    return newest.started + timedelta(seconds=newest.seconds)


def run_named_in(log: Path) -> str | None:
    """The run's id, which `mlops run` says in its first line."""
    with contextlib.suppress(FileNotFoundError):
        text = log.read_text(encoding="utf-8", errors="replace")[:4000]
        if found := re.search(r"\brun ([a-z][a-z0-9-]*-\d{8}-\d{6}-[0-9a-f]{4})\b", text):
            return found[1]
    return None


def _await(look: Callable[[], Found | None], most: timedelta) -> Found | None:
    end = time.monotonic() + most.total_seconds()
    while (found := look()) is None and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return found


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " ".join(lines[-3:]) or "the run ended without a word"


def _stop(child: "subprocess.Popen[bytes]") -> None:
    for sign in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=20)
            return


def _tidy(folder: Path) -> None:
    for old in sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_LOGS:]:
        old.unlink(missing_ok=True)
