"""Run the pipeline on this machine, each step as a process of its own.

The pipeline runs in a child process, `pipelines.runners.worker`, whose output goes to the run's log; this process
follows the journal and publishes to MLflow meanwhile. A run ends with the process that has started it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipelines.errors import MlopsError
from pipelines.runners.runner import Capabilities, Handle, OnRecord, RunCrashed, RunInProgress
from pipelines.runners.worker import can_fork, close
from pipelines.runs.index import open_run
from pipelines.runs.journal import Journal, JournalTail
from pipelines.runs.process import stop_group
from pipelines.runs.publisher import Publisher
from pipelines.runs.request import RunRequest
from pipelines.runs.run import LOG_FILE, Run, is_locked, lock_path, read_run
from pipelines.settings import Settings

POLL_SECONDS = 0.1
STOP_SECONDS = 5


class NotStartedHere(MlopsError):
    """A run on a machine is followed by the process that has started it, which ends it when it ends itself."""


@dataclass
class _Running:
    child: "subprocess.Popen[bytes]"
    tail: JournalTail
    publisher: Publisher


class LocalRunner:
    """Runs on this machine."""

    name = "local"
    capabilities = Capabilities(title="this machine", on_this_machine=True, detaches=False, resumes=True)
    variables: ClassVar[Mapping[str, str]] = {
        "PYTHONUNBUFFERED": "1",
        "MLOPS_PUBLISH_LATER": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "BENTOML_DO_NOT_TRACK": "True",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        # Two trainings on a laptop: idle OpenMP threads sleep instead of spinning on the other's core.
        "OMP_WAIT_POLICY": "PASSIVE",
    }

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._running: dict[str, _Running] = {}

    def check(self, request: RunRequest) -> None:
        """Raises RunInProgress."""
        if is_locked(lock_path(self.settings.runs, request.usecase)):
            raise RunInProgress(
                f"a run of {request.usecase} is under way", hint="`mlops status` shows it; wait for it or stop it"
            )

    def find(self, run_id: str) -> RunRequest:
        """Raises RunNotFound."""
        return read_run(self.settings.runs / run_id).request

    def start(self, request: RunRequest) -> Handle:
        """Start the run's worker; given the request of an interrupted run, it goes on after the last finished step."""
        self.check(request)
        folder = open_run(self.settings.runs, request)
        tail = JournalTail(folder)
        tail.read()
        publisher = Publisher(self.settings)
        publisher.start()
        with (folder / LOG_FILE).open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", "pipelines.runners.worker", str(folder), *([] if can_fork() else ["--fresh"])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.environment_of(request),
                start_new_session=True,
            )
        self._running[request.run_id] = _Running(child, tail, publisher)
        return Handle(request, folder)

    def resume(self, request: RunRequest) -> Handle:
        return self.start(request)

    def follow(self, handle: Handle, on_record: OnRecord) -> Run:
        """Raises RunCrashed, and NotStartedHere in another process than the one that has started the run."""
        running = self._running.get(handle.request.run_id)
        if running is None:
            raise NotStartedHere(
                f"{handle.request.run_id} was not started by this process",
                hint=f"`mlops show {handle.request.run_id}` says how far it is",
            )
        try:
            self._read(running, on_record)
        except BaseException:
            self.stop(handle)
            raise
        self._running.pop(handle.request.run_id)
        running.publisher.finish()
        return self._result(handle, running.child.returncode)

    def stop(self, handle: Handle) -> None:
        running = self._running.pop(handle.request.run_id, None)
        if running is None:
            return
        stop_group(running.child, signal.SIGTERM, STOP_SECONDS)
        close(handle.folder, "KILLED")
        running.publisher.finish()

    def environment_of(self, request: RunRequest) -> dict[str, str]:
        """Steps find everything by environment variables, as they would in a pod."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        own = {**os.environ, **self.settings.environ, **self.variables}
        return {**own, "PATH": path, "MLOPS_ENVIRONMENT": request.environment}

    def _read(self, running: _Running, on_record: OnRecord) -> None:
        while True:
            ended = running.child.poll() is not None
            for record in running.tail.read():
                on_record(record)
            if ended:
                return
            time.sleep(POLL_SECONDS)

    def _result(self, handle: Handle, status: int) -> Run:
        result = read_run(handle.folder)
        if status == 0 or result.outcome not in ("running", "interrupted"):
            return result
        log = handle.folder / LOG_FILE
        records = Journal(handle.folder).records()
        tail = log.read_text(errors="replace").strip().splitlines()[-5:]
        asked = handle.request
        raise RunCrashed(
            f"the runner ended with exit status {status} in step {records[-1].step if records else 'none'}:\n"
            + "\n".join(tail),
            hint=f"log: {log}; `mlops run {asked.usecase} --resume {asked.run_id}` goes on",
        )
