"""Run the pipeline on this machine: `kfp.local` executes it, each step as a process of its own.

The pipeline runs in a child process whose output goes to the run's log, because KFP prints much; the parent
follows the journal, shows progress and publishes to MLflow meanwhile.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from pipelines.errors import MlopsError
from pipelines.runs.index import open_run
from pipelines.runs.journal import Journal, JournalTail, Record
from pipelines.runs.publisher import Publisher
from pipelines.runs.request import RunRequest
from pipelines.runs.run import LOG_FILE, PID_FILE, REQUEST_FILE, RUN, Run, is_locked, lock_path, read_run
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
            [sys.executable, "-m", "pipelines.runners.local", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=_environment(settings, request),
            start_new_session=True,
        )
        try:
            _follow(child, following, on_record)
        except BaseException:
            _stop(child)
            _close(folder, "KILLED")
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


def _environment(settings: Settings, request: RunRequest) -> dict[str, str]:
    """Steps find everything by environment variables, as they would in a pod; KFP starts `python3` from PATH."""
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


def _execute(folder: Path) -> int:
    """The child: run the pipeline in `folder` under the use case's lock."""
    from filelock import FileLock, Timeout
    from kfp import local

    from pipelines.pipeline.graph import train_and_release

    request = RunRequest.read(folder / REQUEST_FILE)
    (folder / PID_FILE).write_text(str(os.getpid()))
    _die_with_parent()
    lock = FileLock(lock_path(folder.parent, request.usecase), timeout=0)
    try:
        lock.acquire()
    except Timeout:
        print(f"a run of {request.usecase} is under way", file=sys.stderr)
        return 4
    with lock:
        Journal(folder).append(Record(step=RUN, event="started", time=time.time()))
        local.init(
            local.SubprocessRunner(use_venv=False),
            pipeline_root=str(folder / "artifacts"),
            enable_caching=True,
            cache_root=str(folder / "cache"),
        )
        try:
            train_and_release(request=request.to_values(exclude_none=True))
        except RuntimeError as error:
            print(error, file=sys.stderr)
            _close(folder, "FAILED")
            return 1
        _close(folder, "FINISHED")
    return 0


def _close(folder: Path, status: str) -> None:
    outcome = read_run(folder).outcome
    Journal(folder).append(Record(step=RUN, event="run", time=time.time(), tags={"status": status, "outcome": outcome}))


def _die_with_parent() -> None:
    """A runner whose caller was killed would go on alone and release unseen."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.killpg(os.getpgid(0), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    sys.exit(_execute(Path(sys.argv[1])))
