"""Run the delivered pipeline on Kubeflow, follow it, and bring back what came of it.

The steps run in pods and tell MLflow what they did; here their records are read into the run's own folder as if it had
run on this machine, so verdict, model card, outcome and exit status are the same.
"""

import contextlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.definitions.find import find_pipeline
from pipelines.runners.kubeflow_api import (
    QUOTA,
    KubeflowAccess,
    KubeflowApi,
    KubeflowAway,
    KubeflowError,
    QuotaExceeded,
    VersionUnknown,
)
from pipelines.runners.local import OnRecord, RunInProgress
from pipelines.runs.journal import Journal, Record
from pipelines.runs.remote import Remote, read_remote
from pipelines.runs.request import RunRequest
from pipelines.runs.run import LOG_FILE, REMOTE_FILE, REQUEST_FILE, RUN, Run, RunNotFound, read_run
from pipelines.runs.shared_journal import SharedJournal
from pipelines.runs.tracking import PUBLISHED_FILE, Published, TrackingUnavailable
from pipelines.settings import Settings

POLL_SECONDS = 2.0
DELIVERY_SECONDS = 30.0
AWAY_SECONDS = 300.0
DONE = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
STATUS = {"SUCCEEDED": "FINISHED", "FAILED": "FAILED", "CANCELED": "KILLED", "SKIPPED": "KILLED"}

Asks = Callable[[], bool]


class RunFailed(KubeflowError):
    """The run ended without a step having failed."""


def run(
    settings: Settings,
    request: RunRequest,
    on_record: OnRecord,
    *,
    version: str | None = None,
    may_stop: Asks = lambda: True,
    poll: float = POLL_SECONDS,
) -> Run:
    """Start a run of the delivered version and follow it to its end.

    On Ctrl-C `may_stop` is asked whether to end it in Kubeflow too.
    """
    api = connect()
    start(settings, request, version=version, api=api, poll=poll)
    return follow(settings, request, on_record, may_stop=may_stop, poll=poll, api=api)


def start(
    settings: Settings,
    request: RunRequest,
    *,
    version: str | None = None,
    api: KubeflowApi | None = None,
    poll: float = POLL_SECONDS,
) -> Remote:
    """Start a run and leave it to Kubeflow."""
    api = api or connect()
    delivered = _delivered(api, request.usecase, version, poll)
    busy = api.active(request.usecase)
    if busy:
        raise RunInProgress(
            f"a run of {request.usecase} is under way in Kubeflow: {busy[0]}",
            hint=f"`mlops run {request.usecase} --runner kubeflow --resume {busy[0]}` follows it",
        )
    begun = api.start(delivered, request)
    remote = Remote(
        runner="kubeflow",
        id=begun.run_id,
        pipeline=delivered.name,
        page=f"{api.access.url}/#/runs/details/{begun.run_id}",
    )
    _open(settings.runs / request.run_id, request, remote)
    return remote


def connect() -> KubeflowApi:
    """The API server that the environment names."""
    return KubeflowApi(KubeflowAccess.load())


def known_request(settings: Settings, run_id: str, api: KubeflowApi | None = None) -> RunRequest:
    """What was asked of a run, also of one that another machine has started."""
    folder = settings.runs / run_id
    if (folder / REQUEST_FILE).is_file() and read_remote(folder):
        return RunRequest.read(folder / REQUEST_FILE)
    found = (api or connect()).find(run_id)
    asked = ((found.runtime_config and found.runtime_config.parameters) or {}).get("request")
    if not asked:
        raise RunNotFound(f"{run_id} is a run in Kubeflow, but none of ours: it has no request")
    request = RunRequest.from_values(asked)
    _open(folder, request, Remote(runner="kubeflow", id=found.run_id, pipeline=request.usecase))
    return request


def resume(
    settings: Settings,
    request: RunRequest,
    on_record: OnRecord,
    *,
    may_stop: Asks = lambda: True,
    poll: float = POLL_SECONDS,
    api: KubeflowApi | None = None,
) -> Run:
    """Follow a run that is under way; go on with a failed one after its last finished step."""
    api = api or connect()
    remote = read_remote(settings.runs / request.run_id)
    assert remote is not None  # noqa: S101 - known_request has made it
    if api.run(remote.id).state in ("FAILED", "CANCELED"):
        api.retry(remote.id)
        _until(lambda: api.run(remote.id).state not in ("FAILED", "CANCELED"), DELIVERY_SECONDS, poll)
    return follow(settings, request, on_record, may_stop=may_stop, poll=poll, api=api)


def follow(
    settings: Settings,
    request: RunRequest,
    on_record: OnRecord,
    *,
    may_stop: Asks = lambda: True,
    poll: float = POLL_SECONDS,
    api: KubeflowApi | None = None,
) -> Run:
    """Tell each step as it ends, until the run does."""
    folder = settings.runs / request.run_id
    follower = _Follower(settings, request, folder, api or connect(), on_record)
    try:
        ended = follower.until_end(poll)
    except KeyboardInterrupt:
        if may_stop():
            follower.stop()
        raise
    return follower.close(ended)


class _Follower:
    """Brings what the steps tell into the run's folder."""

    def __init__(
        self, settings: Settings, request: RunRequest, folder: Path, api: KubeflowApi, on_record: OnRecord
    ) -> None:
        remote = read_remote(folder)
        assert remote is not None  # noqa: S101 - whoever follows has started or found the run
        self.api, self.remote, self.request, self.folder = api, remote, request, folder
        self.journal = Journal(folder)
        self.shared = SharedJournal(settings.tracking_uri, request.usecase, request.run_id)
        self.on_record = on_record
        records = self.journal.records()
        # One that says nothing is only what Kubeflow knew; the step's own word may be had by now.
        self.told = {record.step for record in records if record.event == "finished" and record.summary}
        self.begun = {record.step for record in records if record.event == "started"}
        self.journal.append(Record(step=RUN, event="started", time=time.time()))

    def until_end(self, poll: float) -> Any:
        last_heard = time.monotonic()
        while True:
            try:
                run = self.api.run(self.remote.id)
                last_heard = time.monotonic()
            except KubeflowAway:
                # A run goes on without us; a server that restarts is no reason to give up on it.
                if time.monotonic() - last_heard > AWAY_SECONDS:
                    raise
                time.sleep(poll)
                continue
            self._look(run)
            if run.state in DONE:
                return run
            time.sleep(poll)

    def stop(self) -> None:
        self.api.terminate(self.remote.id)
        with contextlib.suppress(TrackingUnavailable):
            self.shared.close("KILLED")
        self._end("KILLED")

    def close(self, ended: Any) -> Run:
        status = STATUS[ended.state]
        try:
            self.shared.fetch_folder("evaluation", self.folder / "evaluation")
            self.shared.close(status)
            if self.shared.mlflow_run:
                count = len(self.journal.records()) + 1
                Published(mlflow_run=self.shared.mlflow_run, records=count).write(self.folder / PUBLISHED_FILE)
        except TrackingUnavailable as error:
            self._note(f"warning: {error.message}")
        self._end(status)
        result = read_run(self.folder)
        if ended.state == "SUCCEEDED" and "gate" not in result.results:
            raise TrackingUnavailable(
                f"{self.request.run_id} has ended well in Kubeflow, but MLflow does not say what it came to",
                hint=f"`mlops run {self.request.usecase} --runner kubeflow --resume {self.request.run_id}` asks again",
            )
        if ended.state == "FAILED" and result.outcome not in ("failed", "rejected"):
            raise self._unexplained(ended)
        return result

    def _look(self, run: Any) -> None:
        details = {detail.display_name: detail for detail in _details(run)}
        for step in find_pipeline(self.request.pipeline).step_names:
            detail = details.get(step)
            if detail is None or step in self.told:
                continue
            if detail.state == "RUNNING" and step not in self.begun:
                self.begun.add(step)
                self.journal.append(Record(step=step, event="started", time=_seconds(detail.start_time)))
            elif detail.state in ("SUCCEEDED", "FAILED"):
                self._tell(step, detail, run)

    def _tell(self, step: str, detail: Any, run: Any) -> None:
        self.told.add(step)
        self._bring_log(step, detail, run)
        for record in self._records(step, detail):
            if record.event != "started" or step not in self.begun:
                self.journal.append(record)
                self.on_record(record)

    def _records(self, step: str, detail: Any) -> list[Record]:
        """What the step said itself; where it could not, what Kubeflow knows of it."""
        wanted = "finished" if detail.state == "SUCCEEDED" else "failed"
        try:
            said = self.shared.records_of(step)
        except TrackingUnavailable as error:
            self._note(f"warning: {error.message}")
            said = []
        if any(record.event == wanted for record in said):
            return said
        seconds = max(0.0, _seconds(detail.end_time) - _seconds(detail.start_time))
        why = "" if wanted == "finished" else _why(detail) or "its container ended without a word; the log may say more"
        return [Record(step=step, event=wanted, time=_seconds(detail.end_time), seconds=seconds, summary=why)]

    def _bring_log(self, step: str, detail: Any, run: Any) -> None:
        pods = [pod for pod in _pods(detail, run) if pod]
        text = next((text for text in (self.api.log(self.remote.id, pod) for pod in pods) if text), "")
        with (self.folder / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(f"=== {step}\n{text or 'no log: the pod is gone, or the server does not give it'}\n")

    def _end(self, status: str) -> None:
        outcome = read_run(self.folder).outcome
        tags = {"status": status, "outcome": outcome}
        self.journal.append(Record(step=RUN, event="run", time=time.time(), tags=tags))

    def _note(self, text: str) -> None:
        with (self.folder / LOG_FILE).open("a", encoding="utf-8") as log:
            log.write(f"{text}\n")

    def _unexplained(self, ended: Any) -> KubeflowError:
        said = (ended.error and ended.error.message) or ""
        reasons = [said, *(_why(detail) for detail in _details(ended))]
        why = next((reason for reason in reasons if reason), "no step says why")
        if QUOTA.search(why):
            return QuotaExceeded(
                f"{self.request.run_id}: {why}", hint="ask for less in usecase.yaml's pipeline, or wait"
            )
        return RunFailed(f"{self.request.run_id} failed in Kubeflow: {why}", hint=f"see {self.remote.page}")


def _delivered(api: KubeflowApi, usecase: str, version: str | None, poll: float) -> Any:
    """Flux applies the pipeline's name a moment before its version."""
    end = time.monotonic() + (0.0 if version else DELIVERY_SECONDS)
    while True:
        try:
            return api.version(usecase, version)
        except VersionUnknown:
            if time.monotonic() >= end:
                raise
            time.sleep(min(poll, 1.0))


def _open(folder: Path, request: RunRequest, remote: Remote) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    request.write(folder / REQUEST_FILE)
    remote.write(folder / REMOTE_FILE)


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


def _until(look: Callable[[], bool], seconds: float, poll: float) -> None:
    end = time.monotonic() + seconds
    while not look() and time.monotonic() < end:
        time.sleep(poll)
