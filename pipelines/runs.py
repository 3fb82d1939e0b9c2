"""Pipeline runs on this machine: what was asked, how far it came, how it ended.

<home>/runs/<run id>/    request.json  journal.jsonl  log.txt  checks/  evaluation/  artifacts/
"""

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pipelines.documents import Document
from pipelines.errors import MlopsError
from pipelines.request import RunRequest
from pipelines.training.tracking import Journal, Record

REQUEST_FILE = "request.json"
LOG_FILE = "log.txt"
RUN = "run"
STEPS = ("snapshot", "validate", "train", "evaluate", "gate", "register", "package", "release")

Outcome = Literal["released", "unchanged", "rejected", "failed", "running", "interrupted"]


class RunNotFound(MlopsError):
    """There is no such run in the state folder."""


class Run(Document):
    """A run as its journal tells it."""

    request: RunRequest
    folder: Path
    outcome: Outcome
    started: datetime
    seconds: float
    steps: dict[str, float]
    failed_step: str | None = None
    error: str | None = None
    results: dict[str, dict[str, Any]]
    commit: str | None = None


def read_run(folder: Path) -> Run:
    """Read one run's folder."""
    request_file = folder / REQUEST_FILE
    if not request_file.is_file():
        raise RunNotFound(f"{folder.name} is no run in {folder.parent}", hint="`mlops status` lists the last runs")
    records = Journal(folder).records()
    finished = {record.step: record for record in records if record.event == "finished"}
    failed = next((r for r in reversed(records) if r.event == "failed" and r.step not in finished), None)
    start = records[0].time if records else request_file.stat().st_mtime
    end = records[-1].time if records else start
    released = finished.get("release")
    return Run(
        request=RunRequest.read(request_file),
        folder=folder,
        outcome=_outcome(folder, finished, failed),
        started=datetime.fromtimestamp(start, UTC),
        seconds=end - start,
        steps={name: finished[name].seconds or 0.0 for name in STEPS if name in finished},
        failed_step=failed.step if failed else None,
        error=failed.summary if failed else None,
        results={name: record.result for name, record in finished.items() if record.result is not None},
        commit=(released.tags.get("commit") or None) if released else None,
    )


def list_runs(runs: Path, usecase: str | None = None, limit: int = 20) -> list[Run]:
    """The newest runs first."""
    if not runs.is_dir():
        return []
    folders = [folder for folder in runs.iterdir() if (folder / REQUEST_FILE).is_file()]
    newest = sorted(folders, key=lambda folder: (folder / REQUEST_FILE).stat().st_mtime, reverse=True)
    found = (read_run(folder) for folder in newest)
    return [run for run in found if usecase in (None, run.request.usecase)][:limit]


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


def _outcome(folder: Path, finished: dict[str, Record], failed: Record | None) -> Outcome:
    if "release" in finished:
        return "released" if finished["release"].tags.get("commit") else "unchanged"
    verdict = finished["gate"].result if "gate" in finished else None
    if verdict and not verdict.get("passed"):
        return "rejected"
    if failed:
        return "failed"
    owner = _owner(folder)
    return "running" if owner and _is_alive(owner) else "interrupted"


def _owner(folder: Path) -> int | None:
    try:
        return int((folder / "pid").read_text())
    except (OSError, ValueError):
        return None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
