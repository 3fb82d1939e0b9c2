"""Pipeline runs on this machine: what was asked, how far it came, how it ended.

<home>/runs/<run id>/    request.json  journal.jsonl  log.txt  checks/  evaluation/  artifacts/

A run that another machine schedules has the same folder, and remote.json.
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.definitions.definition import Ending, PipelineDefinition
from pipelines.definitions.find import find_pipeline
from pipelines.documents import Value
from pipelines.errors import MlopsError
from pipelines.runs.journal import Journal, Record
from pipelines.runs.request import RunRequest

REQUEST_FILE = "request.json"
LOG_FILE = "log.txt"
REMOTE_FILE = "remote.json"
PID_FILE = "pid"
RUN = "run"

# Of every pipeline; what else a run can end as, its pipeline's definition says.
FAILED, RUNNING, INTERRUPTED = "failed", "running", "interrupted"


class RunNotFound(MlopsError):
    """There is no such run in the state folder."""


class Run(Value):
    """A run as its journal tells it.

    `seconds`: how long it worked, without the time it lay still before it was resumed. `current_step`: begun, and
    neither ended nor failed. `outcome`: one of the pipeline's endings, or failed, running, interrupted. `accepted`: it
    has ended as it should.
    """

    request: RunRequest
    folder: Path
    outcome: str
    accepted: bool = False
    started: datetime
    seconds: float
    steps: dict[str, float]
    current_step: str | None = None
    failed_step: str | None = None
    error: str | None = None
    results: dict[str, dict[str, Any]]
    commit: str | None = None


def read_run(folder: Path) -> Run:
    """Read one run's folder."""
    request_file = folder / REQUEST_FILE
    if not request_file.is_file():
        raise RunNotFound(f"{folder.name} is no run in {folder.parent}", hint="`mlops status` lists the last runs")
    request = RunRequest.read(request_file)
    pipeline = find_pipeline(request.pipeline)
    records = Journal(folder).records()
    finished = {record.step: record for record in records if record.event == "finished"}
    failed = _failure(records, finished)
    start = records[0].time if records else request_file.stat().st_mtime
    ending = _ending(pipeline, finished)
    return Run(
        request=request,
        folder=folder,
        outcome=ending.outcome if ending else _unended(folder, records, failed),
        accepted=bool(ending and ending.accepted),
        started=datetime.fromtimestamp(start, UTC),
        seconds=_seconds(records),
        steps={name: finished[name].seconds or 0.0 for name in pipeline.step_names if name in finished},
        current_step=_current_step(records),
        failed_step=failed.step if failed else None,
        error=failed.summary if failed else None,
        results={name: record.result for name, record in finished.items() if record.result is not None},
        commit=next((record.tags["commit"] for record in finished.values() if record.tags.get("commit")), None),
    )


def lock_path(runs: Path, usecase: str) -> Path:
    """Held while a run of the use case is under way: at most one at a time."""
    return runs / f".{usecase}.lock"


def is_locked(path: Path) -> bool:
    from filelock import FileLock, Timeout

    if not path.exists():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True


def _failure(records: list[Record], finished: dict[str, Record]) -> Record | None:
    """What the run failed of, unless it goes on since."""
    for record in reversed(records):
        if record.event == "started":
            return None
        if record.event == "failed" and record.step not in finished:
            return record
    return None


def _current_step(records: list[Record]) -> str | None:
    last = next((record for record in reversed(records) if record.step != RUN), None)
    return last.step if last and last.event == "started" else None


def _seconds(records: list[Record]) -> float:
    """The sum over its sessions: each begins with the runner's own record and lasts to the last thing said in it."""
    sessions: list[list[float]] = []
    for record in records:
        if not sessions or (record.step, record.event) == (RUN, "started"):
            sessions.append([])
        sessions[-1].append(record.time)
    return sum(times[-1] - times[0] for times in sessions)


def _ending(pipeline: PipelineDefinition, finished: dict[str, Record]) -> Ending | None:
    """How the run ended; the last step that can end one wins."""
    for name in reversed(pipeline.step_names):
        record = finished.get(name)
        if record and (ending := pipeline.ending(name, record.tags, record.result)):
            return ending
    return None


def _unended(folder: Path, records: list[Record], failed: Record | None) -> str:
    if failed:
        return FAILED
    if (folder / REMOTE_FILE).is_file():  # it goes on, whether anybody here follows it or not
        return INTERRUPTED if records and (records[-1].step, records[-1].event) == (RUN, "run") else RUNNING
    return RUNNING if is_worked_on(folder) else INTERRUPTED


def is_worked_on(folder: Path) -> bool:
    """Whether the process that runs it, or is about to, is alive."""
    try:
        owner = int((folder / PID_FILE).read_text())
    except (OSError, ValueError):
        return False
    return _is_alive(owner)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
