"""One pipeline job: start it or find it again, look at it, cancel it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

from pipelines.vertex.api import VertexApi, VertexResponse
from pipelines.vertex.errors import AnswerLost, RunAlreadyThere, VertexConflict

ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
CONSOLE = "https://console.cloud.google.com"


@dataclass(frozen=True)
class VertexTask:
    """One step as Vertex AI tells of it. `log`: where its output is read."""

    name: str
    state: str
    started: datetime | None
    ended: datetime | None
    error: str
    log: str


@dataclass(frozen=True)
class VertexJob:
    """A pipeline job at one look."""

    name: str
    state: str
    tasks: tuple[VertexTask, ...]
    error: str
    labels: dict[str, str]

    @property
    def has_ended(self) -> bool:
        return self.state in ENDED


def start_or_find(api: VertexApi, run_id: str, body: dict[str, Any]) -> VertexJob:
    """The run's job, made now or by an earlier call; its name is the run's id, so there is never a second one."""
    try:
        return _job(api, api.ask("POST", f"{api.parent}/pipelineJobs", body, {"pipelineJobId": run_id}))
    except (VertexConflict, AnswerLost):
        found = api.find(api.name("pipelineJobs", run_id))
        if found is None:
            raise
    job = _job(api, found)
    if job.labels.get("run") != body["labels"]["run"]:
        raise RunAlreadyThere(
            f"{job.name} is a job that this did not start", hint="start a new run, which gets a name of its own"
        )
    return job


def look(api: VertexApi, run_id: str) -> VertexJob:
    return _job(api, api.ask("GET", api.name("pipelineJobs", run_id)))


def cancel(api: VertexApi, run_id: str) -> None:
    """Asks for it; Vertex AI stops the steps some seconds later."""
    api.ask("POST", f"{api.name('pipelineJobs', run_id)}:cancel", {})


def unfinished(api: VertexApi, pipeline: str) -> list[VertexJob]:
    """The jobs of a pipeline that have not ended, whoever or whatever schedule has started them."""
    states = [f'state!="PIPELINE_STATE_{state}"' for state in ENDED]
    query = " AND ".join([f'pipeline_name="{pipeline}"', *states])
    return [_job(api, found) for found in api.each(api.parent, "pipelineJobs", filter=query)]


def page_of(api: VertexApi, run_id: str) -> str:
    """The run in the console, for people."""
    return f"{CONSOLE}/vertex-ai/locations/{api.region}/pipelines/runs/{run_id}?project={api.project}"


def _job(api: VertexApi, told: VertexResponse) -> VertexJob:
    tasks = told.get("jobDetail", {}).get("taskDetails", [])
    return VertexJob(
        name=told["name"].rpartition("/")[2],
        state=told.get("state", "").removeprefix("PIPELINE_STATE_"),
        tasks=tuple(_task(api, each) for each in tasks),
        error=told.get("error", {}).get("message", ""),
        labels=told.get("labels", {}),
    )


def _task(api: VertexApi, told: VertexResponse) -> VertexTask:
    custom_job = told.get("executorDetail", {}).get("containerDetail", {}).get("mainJob", "").rpartition("/")[2]
    query = quote(f'resource.type="ml_job"\nresource.labels.job_id="{custom_job}"', safe="")
    return VertexTask(
        name=told.get("taskName", ""),
        state=told.get("state", ""),
        started=_time(told.get("startTime")),
        ended=_time(told.get("endTime")),
        error=told.get("error", {}).get("message", ""),
        log=f"{CONSOLE}/logs/query;query={query}?project={api.project}" if custom_job else "",
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
