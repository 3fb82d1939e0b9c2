"""The step's context: its settings and request, its record in the journal, and error reporting."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines import logs
from pipelines.definitions.find import find_pipeline
from pipelines.documents import Document
from pipelines.errors import MlopsError
from pipelines.logs import about
from pipelines.packaging.oci.reference import require_image_names
from pipelines.pipeline.isolation import require_shared_stores
from pipelines.runs.journal import Journal, Record
from pipelines.runs.request import RunRequest
from pipelines.runs.run import RUN
from pipelines.runs.tracking import TrackingUnavailable, publish
from pipelines.settings import Settings
from pipelines.tracing import describe_step, record_run, tracing_step
from pipelines.usecase import UseCase, load_usecase
from pipelines.usecase.code import raised_at

if TYPE_CHECKING:
    from pipelines.release.releases import Releases


log = logging.getLogger(__name__)


@dataclass
class Step:
    """Where a step is, what is asked of it, and what it wants remembered."""

    name: str
    settings: Settings
    request: RunRequest
    usecase: UseCase
    started: float = field(default_factory=time.time)
    remembered: dict[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> Path:
        """The use case's folder, with its model.py."""
        return self.settings.root / "apps" / self.usecase.name

    @property
    def run_folder(self) -> Path:
        return self.settings.runs / self.request.run_id

    @property
    def started_at(self) -> str:
        return datetime.fromtimestamp(self.started, UTC).isoformat(timespec="seconds")

    @cached_property
    def releases(self) -> "Releases":
        """The releases in the Git repository that this run would release to."""
        from pipelines.release.releases import open_releases

        return open_releases(self.settings)

    def log(
        self,
        *,
        summary: str,
        params: Mapping[str, Any] | None = None,
        metrics: Mapping[str, float] | None = None,
        tags: Mapping[str, str] | None = None,
        artifacts: Mapping[str, str] | None = None,
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        """Remember this of the step; `artifacts` maps files to their place in MLflow, `aliases` to models."""
        self.remembered |= {
            "summary": summary,
            "params": dict(params or {}),
            "metrics": dict(metrics or {}),
            "tags": dict(tags or {}),
            "artifacts": dict(artifacts or {}),
            "aliases": dict(aliases or {}),
        }

    def give(self, result: Document, path: Path) -> None:
        """Hand the step's result to the steps after it, as the file they read."""
        result.write(path)
        self.remembered["result"] = result.to_values()

    def publish(self) -> str:
        """Bring the run's journal to MLflow; gives the MLflow run's id."""
        artifacts = self.settings.home / "artifacts"
        inside = os.environ.get("MLFLOW_RUN_ID") if self.settings.steps_apart else None
        return publish(self.run_folder, self.usecase.name, self.settings.tracking_uri, artifacts, inside)


@contextmanager
def stepping(name: str, request: Mapping[str, Any]) -> Iterator[Step]:
    """Run a step's function inside this: it begins, its work or its failure is journalled and published."""
    logs.configure()
    settings = Settings.load()
    asked = RunRequest.from_values(request)
    facts = {"run": asked.run_id, "usecase": asked.usecase, "environment": asked.environment, "step": name}
    with about(**facts), tracing_step(asked, name) as span:
        yield from _stepping(name, settings, asked, span)


def _stepping(name: str, settings: Settings, asked: RunRequest, span: Any) -> Iterator[Step]:
    if settings.code:  # what runs here, whatever the one who asked has before him
        asked = asked.model_copy(update={"code": settings.code})
    journal = Journal(settings.runs / asked.run_id)
    started = time.time()
    journal.append(Record(step=name, event="started", time=started))
    log.info("started")
    step = None
    try:
        require_image_names(settings.images, settings.base_image)
        if settings.steps_apart:
            require_shared_stores(settings)
        usecase = load_usecase(settings.root, asked.usecase, asked.environment)
        step = Step(name=name, settings=settings, request=asked, usecase=usecase, started=started)
        yield step
        describe_step(span, step.remembered.get("tags", {}))
    except Exception as error:
        known = {**(step.remembered if step else {}), "summary": _told(error, step)}
        now = time.time()
        journal.append(Record(step=name, event="failed", time=now, seconds=now - started, **known))
        log.error("failed after %.1f s: %s", now - started, known["summary"])  # noqa: TRY400 - it is raised again
        if step and not settings.publish_later:
            with contextlib.suppress(TrackingUnavailable):
                _publish_apart(step, journal, "FAILED")
        raise
    now = time.time()
    journal.append(Record(step=name, event="finished", time=now, seconds=now - started, **step.remembered))
    log.info("finished after %.1f s", now - started)
    if not settings.publish_later:
        _publish_apart(step, journal, "FINISHED" if _ends_the_run(step) else None)


def _publish_apart(step: Step, journal: Journal, status: str | None) -> None:
    """No runner shares this disk: what happened goes to MLflow now, and whoever ends the run closes it there."""
    from pipelines.runs.shared_journal import share

    if status:
        journal.append(Record(step=RUN, event="run", time=time.time(), tags={"status": status}))
        outcome = "failed" if status == "FAILED" else "finished"
        record_run(step.request, outcome, journal.records()[0].time, time.time())
    mlflow_run = step.publish()
    if step.settings.steps_apart:
        share(step.run_folder, step.name, step.settings.tracking_uri, mlflow_run)


def _ends_the_run(step: Step) -> bool:
    ending = find_pipeline(step.request.pipeline).ending(
        step.name, step.remembered.get("tags", {}), step.remembered.get("result")
    )
    return ending is not None


def _told(error: Exception, step: Step | None) -> str:
    """An unforeseen error with the line of the use case's own code that it came through, where it did."""
    if isinstance(error, MlopsError):
        return str(error)
    return f"{type(error).__name__}{raised_at(error, step.code) if step else ''}: {error}"
