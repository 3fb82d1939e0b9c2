"""Runs on Vertex AI: the compiled pipeline as a job.

The job's name is the run's id: a call that is repeated finds the job instead of starting a second one.
"""

import time

from pipelines.definitions.find import find_pipeline
from pipelines.pipeline.compiling.compiled import compile_pipeline
from pipelines.pipeline.isolation import require_shared_stores
from pipelines.runners.follower import Follower, SeenRun, SeenStep, Status, open_folder
from pipelines.runners.runner import Capabilities, Handle, OnRecord, RunInProgress
from pipelines.runs.journal import Journal
from pipelines.runs.remote import Remote
from pipelines.runs.request import RunRequest
from pipelines.runs.run import RUN, Run, read_run
from pipelines.runs.shared_journal import SharedJournal
from pipelines.settings import Settings
from pipelines.usecase import load_usecase
from pipelines.vertex import jobs
from pipelines.vertex.api import VertexApi
from pipelines.vertex.config import VertexConfig, config_path, load_config
from pipelines.vertex.errors import RunAlreadyThere, VertexNotConfigured, VertexUnreachable
from pipelines.vertex.pipeline_job import image_of, pipeline_job

POLL_SECONDS = 15.0
AWAY_SECONDS = 900.0
CANCEL_SECONDS = 120.0
BROKEN = ("FAILED", "CANCELLED")
ENDED: dict[str, Status] = {"SUCCEEDED": "FINISHED", "FAILED": "FAILED", "CANCELLED": "KILLED"}


class VertexRunner:
    """Runs on Vertex AI. It goes on with no job that has ended."""

    name = "vertex"
    capabilities = Capabilities(title="Vertex AI", on_this_machine=False, detaches=True, resumes=False)

    def __init__(self, settings: Settings, *, api: VertexApi | None = None, poll: float | None = None) -> None:
        self.settings = settings
        self.poll = POLL_SECONDS if poll is None else poll
        self._api = api

    def check(self, request: RunRequest) -> None:
        """Nothing that can be known before the job is submitted."""

    def find(self, run_id: str) -> RunRequest:
        """Raises RunNotFound."""
        return read_run(self.settings.runs / run_id).request

    def start(self, request: RunRequest) -> Handle:
        """Submit the job, or find it where an earlier call has.

        Raises:
            RunInProgress: another run of the use case is under way there.
            RunAlreadyThere: the job has ended, or is not ours.
        """
        config = load_config(self.settings.root, request.environment)
        body = job_body(self.settings, request, config)
        api = self._open_api(config)
        folder = self.settings.runs / request.run_id
        was_closed = Journal(folder).last(RUN, "run") is not None
        _require_alone(api, request)
        job = jobs.start_or_find(api, request.run_id, body)
        if was_closed and job.state in BROKEN:
            raise RunAlreadyThere(
                f"{request.run_id} has ended on Vertex AI ({job.state.lower()}), which goes on with no job that has",
                hint=f"start a new run: `mlops run {request.usecase} --runner vertex`",
            )
        page = jobs.page_of(api, job.name)
        handle = Handle(request, folder, Remote(runner=self.name, id=job.name, pipeline=request.usecase, page=page))
        open_folder(handle)
        return handle

    def resume(self, request: RunRequest) -> Handle:
        return self.start(request)

    def follow(self, handle: Handle, on_record: OnRecord) -> Run:
        """Raises TrackingUnavailable, and VertexUnreachable where it is away for long."""
        follower = self._follower(handle, on_record)
        follower.note(f"Vertex AI runs {follower.remote.id}: {follower.remote.page}")
        return follower.follow()

    def stop(self, handle: Handle) -> None:
        self._follower(handle, lambda _record: None).stop()

    def _follower(self, handle: Handle, on_record: OnRecord) -> Follower:
        config = load_config(self.settings.root, handle.request.environment)
        shared = _shared_journal(self.settings, handle.request, config)
        return Follower(handle, _Vertex(self._open_api(config), handle), shared, on_record, self.poll)

    def _open_api(self, config: VertexConfig) -> VertexApi:
        if self._api is None:
            self._api = VertexApi.of(config.project, config.region)
        return self._api


def job_body(settings: Settings, request: RunRequest, config: VertexConfig) -> dict[str, object]:
    """What is submitted for a request. Raises what keeps it from running there, before anything is asked for."""
    if config.pipelines is None:
        raise VertexNotConfigured(
            f"{config_path(request.environment)} has no `pipelines`", hint="docs/vertex.md says what belongs there"
        )
    require_shared_stores(Settings.load(config.pipelines.variables, root=settings.root, home=settings.home))
    usecase = load_usecase(settings.root, request.usecase, request.environment)
    image = image_of(usecase, config.pipelines, request.environment)
    compiled = compile_pipeline(usecase, image, find_pipeline(request.pipeline))
    return pipeline_job(usecase, compiled.spec, request, config)


def _shared_journal(settings: Settings, request: RunRequest, config: VertexConfig) -> SharedJournal:
    """Read by this machine's own address of MLflow, where it has one, else by that of the steps."""
    assert config.pipelines  # noqa: S101 - job_body has looked
    own = settings.tracking_uri != f"sqlite:///{settings.home / 'mlflow.db'}"
    address = settings.tracking_uri if own else config.pipelines.variables["MLOPS_TRACKING_URI"]
    return SharedJournal(address, request.usecase, request.run_id)


def _require_alone(api: VertexApi, request: RunRequest) -> None:
    """Raises RunInProgress."""
    under_way = jobs.unfinished(api, request.usecase)
    if other := next((job.name for job in under_way if job.name != request.run_id), None):
        raise RunInProgress(
            f"a run of {request.usecase} is under way on Vertex AI: {other}", hint=f"see {jobs.page_of(api, other)}"
        )


class _Vertex:
    """One job there, as a follower looks at it."""

    title = "Vertex AI"
    away = VertexUnreachable

    def __init__(self, api: VertexApi, handle: Handle) -> None:
        self.api, self.run_id = api, handle.request.run_id
        self.page = jobs.page_of(api, self.run_id)
        self.patience, self.stop_seconds = AWAY_SECONDS, CANCEL_SECONDS
        self.sleep = api.sleep

    def look(self) -> SeenRun:
        job = jobs.look(self.api, self.run_id)
        steps = tuple(step for task in job.tasks if (step := self._step(task)))
        why = job.error or (f"the job was {job.state.lower()}" if job.state in BROKEN else "")
        return SeenRun(steps, ENDED.get(job.state), why)

    def text_of(self, step: SeenStep) -> str:
        return f"log {step.log}"

    def cancel(self) -> None:
        jobs.cancel(self.api, self.run_id)

    def _step(self, task: jobs.VertexTask) -> SeenStep | None:
        states = {"RUNNING": "running", "SUCCEEDED": "finished", "FAILED": "failed", "CANCELLED": "failed"}
        if task.state not in states:
            return None
        started = task.started.timestamp() if task.started else time.time()
        ended = task.ended.timestamp() if task.ended else started
        log = task.log or self.page
        return SeenStep(task.name, states[task.state], started, ended, task.error, log)  # type: ignore[arg-type]
