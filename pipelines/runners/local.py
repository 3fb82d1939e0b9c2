"""Run the pipeline on this machine, each step as a process of its own.

The pipeline runs in a child process, `pipelines.runners.worker`, whose output goes to the run's log; the parent follows
the journal, shows progress and publishes to MLflow meanwhile.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.errors import MlopsError
from pipelines.runners.worker import can_fork, close
from pipelines.runs.index import open_run
from pipelines.runs.journal import Journal, JournalTail, Record
from pipelines.runs.publisher import Publisher
from pipelines.runs.request import RunRequest
from pipelines.runs.run import LOG_FILE, Run, is_locked, lock_path, read_run
from pipelines.settings import Settings

POLL_SECONDS = 0.1

OnRecord = Callable[[Record], None]


class RunInProgress(MlopsError):
    """Another run of the same use case is under way; there is at most one at a time."""


class RunCrashed(MlopsError):
    """The runner's process ended without a step having failed."""


def run(settings: Settings, request: RunRequest, on_record: OnRecord) -> Run:
    """Run the pipeline to its end and give what came of it; a step's failure is in the result, not raised.

    Called again with the run id of an interrupted run, it goes on after the last finished step.
    """
    folder = settings.runs / request.run_id
    require_free(settings, request.usecase)
    open_run(settings.runs, request)
    following = JournalTail(folder)
    following.read()
    publisher = Publisher(settings)
    publisher.start()
    with (folder / LOG_FILE).open("ab") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "pipelines.runners.worker", str(folder), *([] if can_fork() else ["--fresh"])],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment_of(settings, request),
            start_new_session=True,
        )
        try:
            _follow(child, following, on_record)
        except BaseException:
            _stop(child)
            close(folder, "KILLED")
            raise
        finally:
            publisher.finish()
    result = read_run(folder)
    if child.returncode != 0 and result.outcome in ("running", "interrupted"):
        tail = (folder / LOG_FILE).read_text(errors="replace").strip().splitlines()[-5:]
        raise RunCrashed(
            f"the runner ended with exit status {child.returncode} in step {_last_step(folder)}:\n" + "\n".join(tail),
            hint=f"log: {folder / LOG_FILE}; `mlops run {request.usecase} --resume {request.run_id}` goes on",
        )
    return result


def require_free(settings: Settings, usecase: str) -> None:
    """Raises RunInProgress."""
    if is_locked(lock_path(settings.runs, usecase)):
        raise RunInProgress(f"a run of {usecase} is under way", hint="`mlops status` shows it; wait for it or stop it")


def environment_of(settings: Settings, request: RunRequest) -> dict[str, str]:
    """Steps find everything by environment variables, as they would in a pod."""
    return {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
        **settings.environ,
        "MLOPS_ENVIRONMENT": request.environment,
        "MLOPS_PUBLISH_LATER": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        # Two trainings on a laptop: idle OpenMP threads sleep instead of spinning on the other's core.
        "OMP_WAIT_POLICY": "PASSIVE",
    }


def _follow(child: "subprocess.Popen[bytes]", journal: JournalTail, on_record: OnRecord) -> None:
    while True:
        ended = child.poll() is not None
        for record in journal.read():
            on_record(record)
        if ended:
            return
        time.sleep(POLL_SECONDS)


def _stop(child: "subprocess.Popen[bytes]") -> None:
    """End the pipeline and the step it is in; the journal keeps what was done."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(timeout=5)
            return


def _last_step(folder: Path) -> str:
    records = Journal(folder).records()
    return records[-1].step if records else "none"
