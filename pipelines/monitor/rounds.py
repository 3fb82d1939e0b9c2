"""A round: judge every released model in a child process, keep what it found, show it, and act on it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from pipelines.assessment.assess import Assessment, AssessmentKind
from pipelines.assessment.worker import AssessmentJob, JudgedUsecase, WorkFolders, evaluate, job_of
from pipelines.errors import MlopsError
from pipelines.monitor.inventory.inventory import DeployedModelState, Sight, Watching
from pipelines.monitor.metrics.assessments import AssessmentMetrics
from pipelines.predictions.store.store import Store
from pipelines.release.release import Release

KINDS: tuple[AssessmentKind, ...] = ("inputs", "predictions", "quality", "labels")

Evaluate = Callable[[Sequence[AssessmentJob]], list[JudgedUsecase]]
ActOn = Callable[[DeployedModelState, list[Assessment]], None]


@dataclass(frozen=True)
class Round:
    """What came of one. `problems`: models that could not be judged, and why."""

    assessments: list[Assessment]
    problems: list[str]


class Rounds:
    """One at a time, whoever asks for it."""

    def __init__(
        self,
        store: Store,
        place: WorkFolders,
        watching: Watching,
        metrics: AssessmentMetrics,
        act_on: ActOn,
        *,
        judge: Evaluate = evaluate,
    ) -> None:
        self._store = store
        self._place = place
        self._watching = watching
        self._metrics = metrics
        self._act_on = act_on
        self._judge = judge
        self._busy = threading.Lock()

    def show_last(self, sight: Sight) -> None:
        """Show what the last round found, so that a monitor that was started again has not forgotten it.

        Raises StoreError.
        """
        with self._busy:  # or what was last would be shown over what a round has just found
            for model in _judged_ones(sight):
                self._metrics.show([found for kind in KINDS if (found := self._last(model, kind))])

    def hold(self, sight: Sight, now: datetime) -> Round:
        """Judge what is in sight. Raises StoreError where nothing can be kept: nothing is shown or acted on then."""
        with self._busy:
            return self._hold(_judged_ones(sight), now)

    def _hold(self, models: list[DeployedModelState], now: datetime) -> Round:
        found: dict[tuple[str, str], list[Assessment]] = {}
        problems, jobs, judged_models = [], [], []
        for model in models:
            try:
                folder = self._watching.bento(_release(model))
            except MlopsError as error:
                problems.append(f"{_told(model)}: {error.message}")
                found[model.place] = _failed(model, error.message, now)
                continue
            jobs.append(job_of(model.usecase, model.environment, folder, self._place, now))
            judged_models.append(model)
        for model, judged in zip(judged_models, self._judge(jobs), strict=True):
            if judged.problem:
                problems.append(f"{_told(model)}: {judged.problem}")
            if judged.assessments or not judged.retry:
                found[model.place] = judged.assessments or _failed(model, judged.problem or "", now)
        every = [one for assessments in found.values() for one in assessments]
        self._store.save_assessments(every)
        for model in models:
            if assessments := found.get(model.place):
                self._metrics.show(assessments)
                self._act_on(model, assessments)
        return Round(every, problems)

    def _last(self, model: DeployedModelState, kind: AssessmentKind) -> Assessment | None:
        rows = self._store.assessments(*model.place, kind=kind, limit=1)
        return Assessment.model_validate(rows[0]) if rows else None


def _judged_ones(sight: Sight) -> list[DeployedModelState]:
    return [model for model in sight.models if model.release and _kinds_of(model)]


def _kinds_of(model: DeployedModelState) -> tuple[AssessmentKind, ...]:
    rules = model.usecase.monitoring
    drift: tuple[AssessmentKind, ...] = ("inputs", "predictions") if rules.drift else ()
    quality: tuple[AssessmentKind, ...] = ("quality", "labels") if rules.quality else ()
    return drift + quality


def _failed(model: DeployedModelState, why: str, now: datetime) -> list[Assessment]:
    """So that AssessmentFailed is raised, and the page says why."""
    return [
        Assessment(
            id=f"{model.usecase.name}.{model.environment}.{kind}.{now:%Y%m%dT%H%M%S%fZ}",
            usecase=model.usecase.name,
            environment=model.environment,
            kind=kind,
            time=now,
            window_start=now,
            window_end=now,
            status="failed",
            summary=why,
            detail=_quality_detail(model) if kind == "quality" else {},
            bento=_release(model).bento,
        )
        for kind in _kinds_of(model)
    ]


def _quality_detail(model: DeployedModelState) -> dict[str, str]:
    from pipelines.assessment.quality import bound_of

    rule = model.usecase.monitoring.quality
    assert rule is not None  # noqa: S101 - only asked where quality is judged
    return {"metric": rule.metric, "bound": bound_of(rule)}


def _release(model: DeployedModelState) -> Release:
    assert model.release is not None  # noqa: S101 - only released models are judged
    return model.release


def _told(model: DeployedModelState) -> str:
    return f"{model.usecase.name} in {model.environment}"
