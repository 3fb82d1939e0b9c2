"""What the page says of all models, and of one: from what is known to documents that can be printed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pipelines.assessment.assess import DRIFT_KINDS, Assessment, AssessmentKind
from pipelines.monitor.inventory.inventory import DeployedModelState
from pipelines.monitor.page.files import list_reports
from pipelines.monitor.page.health import columns_of, mark_of, tell
from pipelines.monitor.page.history import last_run, last_words, tell_history, waiting
from pipelines.monitor.page.queries import TREND_KINDS, Facts, Place, TrendReader, gather, gather_one, steps_between
from pipelines.monitor.page.sources import Links, Sources, web_address
from pipelines.monitor.page.view_models import (
    Column,
    Contract,
    Entry,
    Line,
    ModelPage,
    Overview,
    Point,
    Released,
    Server,
    Slice,
    Trend,
)
from pipelines.predictions.errors import UsecaseNotWatched
from pipelines.predictions.store.errors import StoreError
from pipelines.runs.run import Run
from pipelines.usecase import UseCase
from pipelines.usecase.durations import format_duration

DAYS = (1, 7, 30, 90)
USUAL_DAYS = 7
STEPS = 100
SHOWN_HISTORY = 20
FEW_ROWS = 30  # a part with fewer says little, and comes last
ORDER = {"problem": 0, "attention": 1, "fine": 2, "unreleased": 3}


def look_at_all(sources: Sources, trends: TrendReader | None = None) -> Overview:
    """All models, those that need a person first. Files are left to the page of one model: here they cost too much."""
    facts = gather(sources, trends)
    glance = replace(sources, reports=None, links=replace(sources.links, state=None))
    lines = [_line(model, facts, glance, _last_words(model, facts, glance)) for model in facts.sight.models]
    return Overview(
        as_of=facts.now,
        commit=facts.sight.commit,
        commit_url=sources.links.to_commit(facts.sight.commit),
        seen_at=facts.sight.seen_at,
        problems=[*facts.problems, *sources.skipped()],
        models=sorted(lines, key=lambda line: (ORDER[line.mark], line.usecase, line.environment)),
        trends_from=facts.trends.start,
        trends_until=facts.trends.end,
    )


def look_at_model(sources: Sources, usecase: str, environment: str, days: int = USUAL_DAYS) -> ModelPage:
    """Everything of one model. Raises UsecaseNotWatched."""
    facts = gather_one(sources, (usecase, environment))
    model = facts.sight.model(usecase, environment)
    if model is None:
        known = ", ".join("/".join(other.place) for other in facts.sight.models) or "none yet"
        raise UsecaseNotWatched(f"{usecase} is not watched in {environment}; watched are: {known}")
    history = _history(model, facts, sources)
    newest = facts.newest.get(model.place, {}) if model.release else {}
    points = _points(sources, model.place, newest, days)
    line = _line(model, facts, sources, history)
    return ModelPage(
        as_of=facts.now,
        commit=facts.sight.commit,
        problems=[*facts.problems, *sources.skipped()],
        line=line,
        contract=_contract(model.usecase),
        environments=[other.environment for other in facts.sight.models if other.usecase.name == usecase],
        grafana_url=sources.links.to_grafana(usecase, environment),
        days=days,
        points=points,
        columns=[column for kind in DRIFT_KINDS if kind in newest for column in _columns(newest[kind])],
        left_out=_left_out(newest),
        slices=_slices(newest.get("quality")),
        history=history[:SHOWN_HISTORY],
        reports=list_reports(sources.reports, environment, usecase) if sources.reports else [],
    )


# --- one line ------------------------------------------------------------------------------------------------


def _line(model: DeployedModelState, facts: Facts, sources: Sources, history: Sequence[Entry]) -> Line:
    bento = model.release.bento if model.release else None
    newest = facts.newest.get(model.place, {}) if model.release else {}
    judged = {kind: tell(one, bento, sources.reports) for kind, one in newest.items()}
    server = _server(model, facts)
    last = last_run(history)
    mark, why = mark_of(model, server, list(judged.values()), last, facts.now)
    trends = [(kind, facts.trends.values.get((*model.place, kind), [])) for kind in TREND_KINDS]
    return Line(
        usecase=model.usecase.name,
        environment=model.environment,
        mark=mark,
        why=why,
        server=server,
        released=_released(model, sources.links, history),
        last_run=last,
        waiting=waiting(history),
        trends=[
            Trend(kind=kind, values=tuple(values)) for kind, values in trends if any(v is not None for v in values)
        ],
        **judged,
    )


def _server(model: DeployedModelState, facts: Facts) -> Server:
    health = model.health
    return Server(
        state=health.state,
        bento=health.bento,
        since=health.since,
        url=web_address(health.url),
        detail=health.detail,
        problem=health.problem,
        last_prediction=facts.last_predicted.get(model.place),
    )


def _released(model: DeployedModelState, links: Links, history: Sequence[Entry]) -> Released | None:
    release = model.release
    if release is None:
        return None
    made_by = next((entry for entry in history if entry.bento == release.bento and entry.card_url), None)
    return Released(
        bento=release.bento,
        model=release.model,
        version=release.version,
        image=release.image,
        data=release.data,
        code=release.code,
        mlflow_run=release.run,
        metrics=release.metrics,
        since=model.since,
        commit=model.commit or None,
        commit_url=links.to_commit(model.commit),
        mlflow_url=links.to_mlflow_run(release.run),
        card_url=made_by.card_url if made_by else None,
    )


def _history(model: DeployedModelState, facts: Facts, sources: Sources) -> list[Entry]:
    return tell_history(facts.asked.get(model.place, []), _runs(model, sources), sources.links)


def _last_words(model: DeployedModelState, facts: Facts, sources: Sources) -> list[Entry]:
    records, runs = last_words(facts.asked.get(model.place, []), _runs(model, sources))
    return tell_history(records, runs, sources.links)


def _runs(model: DeployedModelState, sources: Sources) -> list[Run]:
    return [run for run in sources.runs(model.usecase.name) if run.request.environment == model.environment]


# --- one model -----------------------------------------------------------------------------------------------


def _points(sources: Sources, place: Place, newest: dict[AssessmentKind, Assessment], days: int) -> list[Point]:
    end = max((one.time for one in newest.values()), default=None)
    if end is None:
        return []
    try:
        start = sources.store.first_assessment([place], end - timedelta(days=days)) or end
        rows = sources.store.assessed_over_time(place, steps_between(start, end, STEPS))
    except StoreError:
        return []  # it went away between two questions; the page says the rest
    return [_point(Assessment.model_validate(row)) for row in rows]


def _point(one: Assessment) -> Point:
    interval: Any = one.detail.get("interval")
    return Point(
        kind=one.kind,
        time=one.time,
        status=one.status,
        bento=one.bento,
        value=one.value,
        threshold=one.threshold if one.kind != "labels" else None,  # an alert is: none at all
        interval=(interval[0], interval[1]) if interval else None,
    )


def _columns(assessment: Assessment) -> list[Column]:
    return [Column.model_validate({"kind": assessment.kind, **column}) for column in columns_of(assessment)]


def _left_out(newest: dict[AssessmentKind, Assessment]) -> dict[str, str]:
    found: Any = newest["inputs"].detail.get("left_out") if "inputs" in newest else None
    return dict(found or {})


def _slices(assessment: Assessment | None) -> list[Slice]:
    if assessment is None:
        return []
    metric, found = assessment.detail.get("metric"), []
    slices: Any = assessment.detail.get("slices") or []
    for part in slices:
        score = part["metrics"].get(metric)
        found.append(Slice(column=part["column"], value=part["value"], rows=part["rows"], score=score))
    falling = assessment.detail.get("bound") != "at_least"

    def worst_first(one: Slice) -> tuple[bool, bool, float]:
        score = one.score or 0.0
        return one.score is None, one.rows < FEW_ROWS, -score if falling else score

    return sorted(found, key=worst_first)


def _contract(usecase: UseCase) -> Contract:
    drift, quality, retrain = usecase.monitoring.drift, usecase.monitoring.quality, usecase.retrain
    limit = f"at least {quality.at_least:g}" if quality and quality.at_least is not None else ""
    limit = f"at most {quality.at_most:g}" if quality and quality.at_most is not None else limit
    causes = [*(["schedule"] if retrain.schedule else []), *retrain.on]
    return Contract(
        purpose=usecase.purpose,
        team=usecase.owner.team,
        contact=usecase.owner.contact,
        accountable=usecase.owner.accountable,
        risk=usecase.risk.level,
        drift=f"{drift.method} at most {drift.threshold:g} over {format_duration(drift.window)}" if drift else None,
        quality=f"{quality.metric} {limit}, true values within {format_duration(quality.labels_within)}"
        if quality
        else None,
        retrain=f"{', '.join(causes)}; not twice within {format_duration(retrain.cooldown)}" if causes else "by hand",
    )
