"""Runs on Kubeflow Pipelines, of the version of the pipeline that Flux has delivered there."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pipelines.definitions.train_and_release import TRAIN_AND_RELEASE
from pipelines.runners.follower import Follower, SeenRun, SeenStep, Status, open_folder
from pipelines.runners.kubeflow_api import (
    KubeflowAccess,
    KubeflowApi,
    KubeflowAway,
    PipelineNotDelivered,
    VersionUnknown,
)
from pipelines.runners.runner import Capabilities, Handle, OnRecord, RunInProgress
from pipelines.runs.remote import Remote, read_remote
from pipelines.runs.request import RunRequest
from pipelines.runs.run import REQUEST_FILE, Run, RunNotFound
from pipelines.runs.shared_journal import SharedJournal
from pipelines.settings import Settings

POLL_SECONDS = 2.0
DELIVERY_SECONDS = 30.0
AWAY_SECONDS = 300.0
ENDED: dict[str, Status] = {
    "SUCCEEDED": "FINISHED",
    "FAILED": "FAILED",
    "CANCELED": "KILLED",
    "SKIPPED": "KILLED",
}
NO_LOG = "no log: the pod is gone, or the server does not give it"


class KubeflowRunner:
    """Runs on Kubeflow Pipelines."""

    name = "kubeflow"
    capabilities = Capabilities(title="Kubeflow", on_this_machine=False, detaches=True, resumes=True)

    def __init__(
        self,
        settings: Settings,
        *,
        api: KubeflowApi | None = None,
        version: str | None = None,
        poll: float | None = None,
    ) -> None:
        """`version`: of the delivered pipeline; left out, the one that Git asks for."""
        self.settings = settings
        self.version = version
        self.poll = POLL_SECONDS if poll is None else poll
        self._api = api

    @property
    def api(self) -> KubeflowApi:
        """The API server that the environment names. Raises KubeflowNotSet."""
        if self._api is None:
            self._api = KubeflowApi(KubeflowAccess.load())
        return self._api

    def check(self, request: RunRequest) -> None:
        """Raises PipelineNotDelivered for another pipeline than the one that is delivered for each use case."""
        if request.pipeline != TRAIN_AND_RELEASE.name:
            raise PipelineNotDelivered(
                f"Flux delivers {TRAIN_AND_RELEASE.name} for each use case, and not {request.pipeline}",
                hint="run it on this machine: `--runner local`",
            )

    def find(self, run_id: str) -> RunRequest:
        """Raises RunNotFound, and RunUnknown where Kubeflow has no such run."""
        folder = self.settings.runs / run_id
        if (folder / REQUEST_FILE).is_file() and read_remote(folder):
            return RunRequest.read(folder / REQUEST_FILE)
        found = self.api.find(run_id)
        asked = ((found.runtime_config and found.runtime_config.parameters) or {}).get("request")
        if not asked:
            raise RunNotFound(f"{run_id} is a run in Kubeflow, but none of ours: it has no request")
        request = RunRequest.from_values(asked)
        self._open(request, found.run_id, request.usecase)
        return request

    def start(self, request: RunRequest) -> Handle:
        """Start a run and leave it to Kubeflow. Raises RunInProgress."""
        self.check(request)
        delivered = self._delivered(request.usecase)
        busy = self.api.active(request.usecase)
        if busy:
            raise RunInProgress(
                f"a run of {request.usecase} is under way in Kubeflow: {busy[0]}",
                hint=f"`mlops run {request.usecase} --runner kubeflow --resume {busy[0]}` follows it",
            )
        begun = self.api.start(delivered, request)
        return self._open(request, begun.run_id, delivered.name)

    def resume(self, request: RunRequest) -> Handle:
        """Find a run that is under way; a failed one goes on after its last finished step."""
        folder = self.settings.runs / request.run_id
        remote = read_remote(folder)
        if remote is None:
            self.find(request.run_id)
            remote = read_remote(folder)
        assert remote is not None  # noqa: S101 - find has made it
        if self.api.run(remote.id).state in ("FAILED", "CANCELED"):
            self.api.retry(remote.id)
            end = time.monotonic() + DELIVERY_SECONDS
            while self.api.run(remote.id).state in ("FAILED", "CANCELED") and time.monotonic() < end:
                time.sleep(self.poll)
        return Handle(request, folder, remote)

    def follow(self, handle: Handle, on_record: OnRecord) -> Run:
        """Raises TrackingUnavailable, and KubeflowAway where the server is away for minutes."""
        return self._follower(handle, on_record).follow()

    def stop(self, handle: Handle) -> None:
        self._follower(handle, lambda _record: None).stop()

    def _follower(self, handle: Handle, on_record: OnRecord) -> Follower:
        assert handle.remote  # noqa: S101 - every handle of this runner has one
        shared = SharedJournal(self.settings.tracking_uri, handle.request.usecase, handle.request.run_id)
        return Follower(handle, _Kubeflow(self.api, handle.remote.id), shared, on_record, self.poll)

    def _open(self, request: RunRequest, run: str, pipeline: str) -> Handle:
        remote = Remote(runner=self.name, id=run, pipeline=pipeline, page=f"{self.api.access.url}/#/runs/details/{run}")
        handle = Handle(request, self.settings.runs / request.run_id, remote)
        open_folder(handle)
        return handle

    def _delivered(self, usecase: str) -> Any:
        """Flux applies the pipeline's name a moment before its version."""
        end = time.monotonic() + (0.0 if self.version else DELIVERY_SECONDS)
        while True:
            try:
                return self.api.version(usecase, self.version)
            except VersionUnknown:
                if time.monotonic() >= end:
                    raise
                time.sleep(min(self.poll, 1.0))


class _Kubeflow:
    """One run there, as a follower looks at it."""

    title = "Kubeflow"
    away = KubeflowAway
    stop_seconds = 0.0
    sleep: Callable[[float], None] = staticmethod(time.sleep)

    def __init__(self, api: KubeflowApi, run: str) -> None:
        self.api, self.run = api, run
        self.patience = AWAY_SECONDS
        self._details: dict[str, Any] = {}
        self._found: Any = None

    def look(self) -> SeenRun:
        self._found = self.api.run(self.run)
        self._details = {detail.display_name: detail for detail in _details(self._found)}
        steps = tuple(step for detail in self._details.values() if (step := _step(detail)))
        return SeenRun(steps, ENDED.get(self._found.state), _why_of_run(self._found))

    def text_of(self, step: SeenStep) -> str:
        pods = [pod for pod in _pods(self._details[step.name], self._found) if pod]
        return next((text for text in (self.api.log(self.run, pod) for pod in pods) if text), NO_LOG)

    def cancel(self) -> None:
        self.api.terminate(self.run)


def _step(detail: Any) -> SeenStep | None:
    states = {"RUNNING": "running", "SUCCEEDED": "finished", "FAILED": "failed"}
    if detail.state not in states:
        return None
    started, ended = _seconds(detail.start_time), _seconds(detail.end_time)
    return SeenStep(detail.display_name, states[detail.state], started, ended, _why(detail))  # type: ignore[arg-type]


def _why_of_run(run: Any) -> str:
    said = (run.error and run.error.message) or ""
    return next((reason for reason in [said, *(_why(detail) for detail in _details(run))] if reason), "")


def _details(run: Any) -> list[Any]:
    return list((run.run_details and run.run_details.task_details) or [])


def _pods(detail: Any, run: Any) -> list[str | None]:
    """A step's own pod, which is a child of its task where the backend splits driver and executor."""
    children = [child.pod_name for child in detail.child_tasks or []]
    below = [other.pod_name for other in _details(run) if other.parent_task_id == detail.task_id and other.task_id]
    return [*children, *below, detail.pod_name]


def _why(detail: Any) -> str:
    return str(detail.error.message).strip() if detail.error and detail.error.message else ""


def _seconds(moment: datetime | None) -> float:
    if moment is None:
        return time.time()
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
