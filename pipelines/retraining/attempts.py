"""A trigger's attempts: each is a run in a child process whose log is kept.

    <home>/logs/triggers/<trigger>-<attempt>.json     what was asked, with the run's id
    <home>/logs/triggers/<trigger>-<attempt>.log      what the child prints

The child does not end with the monitor. The request is there before an attempt begins: so a monitor that is started
again follows the run that is under way instead of beginning another one.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

from pipelines.environments import Environments
from pipelines.retraining.triggers import RunOutcome, TriggerRecord
from pipelines.runs.index import list_runs
from pipelines.runs.process import stop_group
from pipelines.runs.replay import replay_day
from pipelines.runs.request import RunRequest, new_run_id
from pipelines.runs.run import FAILED, INTERRUPTED, RUNNING, Run, RunNotFound, is_locked, lock_path, read_run
from pipelines.settings import Settings

POLL_SECONDS = 0.2
STOP_SECONDS = 20
LONGEST_RUN = timedelta(hours=12)
STILL_FOR = timedelta(seconds=30)
KEPT_LOGS = 200

Found = TypeVar("Found")
ToldRun = Callable[[TriggerRecord, str], None]


@dataclass(frozen=True)
class Attempts:
    """Begins and follows the runs of triggers.

    `program`: the command that runs a pipeline to its end, given a file with the request; what trains is not imported
    here. `told_run` hears the run's id as soon as it is known.
    """

    settings: Settings
    program: Sequence[str]
    told_run: ToldRun = lambda _record, _run_id: None
    longest: timedelta = LONGEST_RUN

    def __call__(self, record: TriggerRecord) -> RunOutcome:
        """Begin the attempt's run, or follow it where it has begun, until it ends."""
        asked = self.file_of(record, ".json")
        if asked.exists():
            return self._follow(record, RunRequest.read(asked))
        if is_locked(lock_path(self.settings.runs, record.usecase)):
            return RunOutcome(outcome="busy", note="a run that was started by hand is under way")
        return self._begin(record, asked)

    def file_of(self, record: TriggerRecord, suffix: str = ".log") -> Path:
        return self.settings.logs / "triggers" / f"{record.id}-{record.attempts}{suffix}"

    def _begin(self, record: TriggerRecord, asked: Path) -> RunOutcome:
        request = request_for(record, self.settings.environments, replay_day(self.settings.home))
        asked.parent.mkdir(parents=True, exist_ok=True)
        _tidy(asked.parent)
        request.write(asked)
        self.told_run(record, request.run_id)
        log = self.file_of(record)
        with log.open("ab") as output:
            child = subprocess.Popen(
                [*self.program, str(asked)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.settings.root,
                env=self._environment(),
                start_new_session=True,
            )
        end = time.monotonic() + self.longest.total_seconds()
        while child.poll() is None:
            if time.monotonic() > end:
                stop_group(child, signal.SIGINT, STOP_SECONDS)
                return RunOutcome(outcome="failed", run_id=request.run_id, note=f"stopped after {self.longest}")
            time.sleep(POLL_SECONDS)
        return self._outcome(request.run_id, _last_words(log))

    def _follow(self, record: TriggerRecord, request: RunRequest) -> RunOutcome:
        """A run that another monitor began."""
        run_id = request.run_id
        self.told_run(record, run_id)
        ended = _await(_Ending(lambda: self._read(run_id)), self.longest)
        if self._read(run_id) is None:
            return RunOutcome(outcome="failed", note="the monitor was stopped before the run began")
        why = "the monitor was stopped, and the run with it" if ended else f"not over in {self.longest}"
        return self._outcome(run_id, why)

    def _outcome(self, run_id: str, otherwise: str) -> RunOutcome:
        run = self._read(run_id)
        if run is None:
            return RunOutcome(outcome="failed", note=otherwise)
        if run.outcome in (RUNNING, INTERRUPTED):
            return RunOutcome(outcome="failed", run_id=run_id, note=otherwise)
        if run.outcome == FAILED:
            return RunOutcome(outcome="failed", run_id=run_id, note=f"{run.failed_step}: {run.error}")
        return RunOutcome.model_validate({"outcome": run.outcome, "run_id": run_id})

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
        if run is None or run.outcome == INTERRUPTED:
            return True if time.monotonic() - self._still_since > STILL_FOR.total_seconds() else None
        self._still_since = time.monotonic()
        return None if run.outcome == RUNNING else True


def request_for(record: TriggerRecord, environments: Environments, as_of: datetime | None = None) -> RunRequest:
    """What is asked for: an environment that takes another one's releases gets the new model by way of that one."""
    environment = environments.trained_in(record.environment)
    return RunRequest(
        usecase=record.usecase,
        run_id=new_run_id(record.usecase),
        environment=environment,
        as_of=as_of,
        reason=record.sentence,
    )


def last_local_run(settings: Settings, usecase: str) -> datetime | None:
    """When the newest run on this machine ended, whoever began it; None while it is under way, or without any."""
    newest = next(iter(list_runs(settings.runs, usecase, limit=1)), None)
    if newest is None or newest.outcome == RUNNING:
        return None
    return newest.started + timedelta(seconds=newest.seconds)


def _await(look: Callable[[], Found | None], most: timedelta) -> Found | None:
    end = time.monotonic() + most.total_seconds()
    while (found := look()) is None and time.monotonic() < end:
        time.sleep(POLL_SECONDS)
    return found


def _last_words(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return " ".join(lines[-3:]) or "the run ended without a word"


def _tidy(folder: Path) -> None:
    for suffix in ("log", "json"):
        by_age = sorted(folder.glob(f"*.{suffix}"), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in by_age[KEPT_LOGS:]:
            old.unlink(missing_ok=True)
