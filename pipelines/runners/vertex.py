"""Run the pipeline on Vertex AI: submit the compiled pipeline, follow its steps, bring back what each one said.

Steps run in containers there and put their records into MLflow; this side copies them into the run's folder, so that
`mlops show`, the outcome and the exit status are what they are for a run on this machine. The job's name is the run's
id: a call that is repeated finds the job instead of starting a second one.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from pipelines.definitions.find import find_pipeline
from pipelines.errors import MlopsError
from pipelines.pipeline.compiling.compiled import compile_pipeline
from pipelines.pipeline.isolation import require_shared_stores
from pipelines.runners.local import OnRecord, RunCrashed, RunInProgress
from pipelines.runs.journal import Journal, Record
from pipelines.runs.remote import Remote
from pipelines.runs.request import RunRequest
from pipelines.runs.run import LOG_FILE, REMOTE_FILE, REQUEST_FILE, RUN, Run, read_run
from pipelines.runs.shared_journal import SharedJournal
from pipelines.runs.tracking import TrackingUnavailable
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
DONE, BROKEN = ("SUCCEEDED",), ("FAILED", "CANCELLED")
STATUS = {"SUCCEEDED": "FINISHED", "FAILED": "FAILED", "CANCELLED": "KILLED"}


def run(
    settings: Settings,
    request: RunRequest,
    on_record: OnRecord,
    *,
    may_stop: Callable[[], bool] = lambda: True,
    api: VertexApi | None = None,
    poll: float | None = None,
) -> Run:
    """Run the pipeline to its end and give what came of it; a step's failure is in the result, not raised.

    Called again with the id of a run that goes on there, it follows that one. On Ctrl-C `may_stop` is asked whether to
    end the job on Vertex AI too.
    """
    config = load_config(settings.root, request.environment)
    body = job_body(settings, request, config)
    api = api or VertexApi.of(config.project, config.region)
    folder = settings.runs / request.run_id
    was_closed = Journal(folder).last(RUN, "run") is not None
    _require_alone(api, request)
    job = jobs.start_or_find(api, request.run_id, body)
    if was_closed and job.state in BROKEN:
        raise RunAlreadyThere(
            f"{request.run_id} has ended on Vertex AI ({job.state.lower()}), which goes on with no job that has",
            hint=f"start a new run: `mlops run {request.usecase} --runner vertex`",
        )
    page = jobs.page_of(api, job.name)
    request.write(folder / REQUEST_FILE)
    Remote(runner="vertex", id=job.name, pipeline=request.usecase, page=page).write(folder / REMOTE_FILE)
    follower = _Follower(
        settings, request, _shared_journal(settings, request, config), api, on_record, poll or POLL_SECONDS
    )
    follower.note(f"Vertex AI runs {job.name}: {page}")
    try:
        return follower.follow(job)
    except KeyboardInterrupt:
        if may_stop():
            follower.cancel()
        raise
    except MlopsError:
        again = f"mlops run {request.usecase} --resume {request.run_id} --runner vertex"
        print(f"the job may go on: {page}\n`{again}` follows it again", file=sys.stderr)
        raise


def job_body(settings: Settings, request: RunRequest, config: VertexConfig) -> dict[str, object]:
    """What is submitted for a request. Raises what keeps it from running there, before anything is asked for."""
    if config.pipelines is None:
        raise VertexNotConfigured(
            f"{config_path(request.environment)} has no `pipelines`", hint="docs/vertex.md says what belongs there"
        )
    require_shared_stores(Settings.load(config.pipelines.variables, root=settings.root, home=settings.home))
    usecase = load_usecase(settings.root, request.usecase, request.environment)
    image = image_of(usecase, config.pipelines, request.environment)
    return pipeline_job(usecase, compile_pipeline(usecase, image).spec, request, config)


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


@dataclass
class _Follower:
    """Looks at the job again and again, and writes what is new into the run's journal and log."""

    settings: Settings
    request: RunRequest
    shared: SharedJournal
    api: VertexApi
    on_record: OnRecord
    poll: float
    states: dict[str, str] = field(default_factory=dict)

    @property
    def steps(self) -> tuple[str, ...]:
        return find_pipeline(self.request.pipeline).step_names

    @property
    def journal(self) -> Journal:
        return Journal(self.settings.runs / self.request.run_id)

    def follow(self, job: jobs.Job) -> Run:
        self._append(Record(step=RUN, event="started", time=time.time()))
        while not job.has_ended:
            self._take_in(job)
            self.api.sleep(self.poll)
            job = self._look()
        self._take_in(job)
        return self._finish(job)

    def _look(self) -> jobs.Job:
        """An outage of minutes ends no run of hours, nor the following of it."""
        until = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                return jobs.look(self.api, self.request.run_id)
            except VertexUnreachable as error:
                self.note(error.message)
                if time.monotonic() > until:
                    raise
            self.api.sleep(self.poll)

    def note(self, text: str) -> None:
        """A line for the log, which people read when something went wrong."""
        with (self.journal.folder / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}\n")

    def _take_in(self, job: jobs.Job) -> None:
        steps = self.steps
        for task in sorted(job.tasks, key=lambda task: steps.index(task.name) if task.name in steps else -1):
            if task.name not in steps or self.states.get(task.name) == task.state:
                continue
            self.note(f"{task.name}: {task.state.lower()}" + (f", log {task.log}" if task.log else ""))
            if self._tell(task):
                self.states[task.name] = task.state

    def _tell(self, task: jobs.Task) -> bool:
        """False when it has to be asked again: the step has ended, and its records are not to be had yet."""
        if self.journal.last(task.name):
            return True  # an earlier call has told it
        if task.state == "RUNNING" and task.started:
            self._append(Record(step=task.name, event="started", time=task.started.timestamp()))
        elif task.state in DONE:
            return self._copy(task)
        elif task.state in BROKEN and not self._copy(task):
            self._append(self._failure(task))
        return True

    def _copy(self, task: jobs.Task) -> bool:
        """What the step said of its end, as it said it."""
        try:
            said = self.shared.records_of(task.name)
        except TrackingUnavailable as error:
            self.note(error.message)
            return False
        ended = [record for record in said if record.step == task.name and record.event in ("finished", "failed")]
        fitting = [record for record in ended if (record.event == "finished") == (task.state in DONE)]
        for record in fitting[-1:]:
            told = f"{record.summary}\n  log: {task.log}" if record.event == "failed" and task.log else record.summary
            self._append(record.model_copy(update={"summary": told}))
        return bool(fitting)

    def _failure(self, task: jobs.Task) -> Record:
        """A container that could not start, or was killed, says nothing itself."""
        why = task.error or "the container ended without a word"
        ended = task.ended.timestamp() if task.ended else time.time()
        seconds = ended - task.started.timestamp() if task.started else 0.0
        summary = f"{why}\n  log: {task.log or jobs.page_of(self.api, self.request.run_id)}"
        return Record(step=task.name, event="failed", time=ended, seconds=seconds, summary=summary)

    def _append(self, record: Record) -> None:
        self.journal.append(record)
        self.on_record(record)

    def _finish(self, job: jobs.Job) -> Run:
        folder = self.journal.folder
        with contextlib.suppress(TrackingUnavailable):
            self.shared.fetch_folder("evaluation", folder / "evaluation")
        found = read_run(folder)
        if job.state in BROKEN and found.failed_step is None:
            step = next((name for name in self.steps if name not in found.steps), self.steps[-1])
            why = job.error or f"the job was {job.state.lower()}"
            summary = f"{why}\n  log: {jobs.page_of(self.api, job.name)}"
            self._append(Record(step=step, event="failed", time=time.time(), seconds=0.0, summary=summary))
        self._close(STATUS[job.state])
        found = read_run(folder)
        if found.outcome in ("running", "interrupted"):
            raise RunCrashed(
                f"Vertex AI says that {job.name} has succeeded, but MLflow does not have the records of its steps",
                hint=f"is {self.shared.tracking_uri} what the steps write to? The log: {folder / LOG_FILE}",
            )
        return found

    def _close(self, status: str) -> None:
        outcome = read_run(self.journal.folder).outcome
        self.journal.append(
            Record(step=RUN, event="run", time=time.time(), tags={"status": status, "outcome": outcome})
        )
        with contextlib.suppress(TrackingUnavailable):
            self.shared.close(status)

    def cancel(self) -> None:
        """Ctrl-C stops the steps, not the looking at them; a second one stops the waiting for that."""
        print("stopping the job on Vertex AI; Ctrl-C again leaves it to stop by itself", file=sys.stderr)
        try:
            jobs.cancel(self.api, self.request.run_id)
        except MlopsError as error:
            page = jobs.page_of(self.api, self.request.run_id)
            print(f"it could not be stopped and goes on; stop it at {page}\n  {error.message}", file=sys.stderr)
            return
        deadline = time.monotonic() + CANCEL_SECONDS
        with contextlib.suppress(KeyboardInterrupt):
            while time.monotonic() < deadline and not (job := jobs.look(self.api, self.request.run_id)).has_ended:
                self._take_in(job)
                self.api.sleep(min(self.poll, 5.0))
        self._close("KILLED")
