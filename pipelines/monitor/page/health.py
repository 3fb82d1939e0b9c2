"""From what is known of one model to what is told of it, and whether a person has to look."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pipelines.assessment.assess import Assessment
from pipelines.monitor.inventory.inventory import DeployedModelState
from pipelines.monitor.page.files import report_url
from pipelines.monitor.page.view_models import Bound, Entry, Judged, Mark, Server
from pipelines.usecase.durations import format_duration

NOT_JUDGED_FOR = timedelta(hours=1)
BROKEN = ("failed", "down")
SERVERS = {
    "failed": "nothing serves it",
    "down": "it is released, but does not run",
    "restarting": "its server crashed and starts again",
    "starting": "its first server is on its way",
}
ALERTS = {
    "inputs": "requests have drifted from the training data",
    "predictions": "answers have drifted from those on the training data",
    "quality": "live quality misses its limit",
    "labels": "no true values arrive",
}
FAILED = {
    "inputs": "the drift of requests could not be judged",
    "predictions": "the drift of answers could not be judged",
    "quality": "live quality could not be judged",
    "labels": "labels could not be judged",
}


def tell(assessment: Assessment, bento: str | None, reports: Path | None) -> Judged:
    """An assessment as it is shown; `bento`: the one that is released now."""
    detail: dict[str, Any] = assessment.detail
    interval = detail.get("interval")
    bound: Bound = "at_least" if detail.get("bound") == "at_least" or assessment.kind == "labels" else "at_most"
    return Judged(
        kind=assessment.kind,
        status=assessment.status,
        summary=assessment.summary,
        time=assessment.time,
        window_start=assessment.window_start,
        window_end=assessment.window_end,
        bento=assessment.bento,
        current=assessment.bento == bento,
        value=assessment.value,
        threshold=assessment.threshold,
        bound=bound,
        subject=_subject(assessment),
        interval=(interval[0], interval[1]) if interval else None,
        predictions=detail.get("predictions", detail.get("rows")),
        labelled=detail.get("labelled"),
        lag_median_seconds=detail.get("lag_median_seconds"),
        report=report_url(reports, assessment) if reports else None,
        report_problem=detail.get("report_problem"),
    )


def columns_of(assessment: Assessment) -> list[dict[str, Any]]:
    """The columns of a drift assessment, the worst first."""
    columns: Any = assessment.detail.get("columns")
    return columns if isinstance(columns, list) else []


def mark_of(
    model: DeployedModelState, server: Server, judged: list[Judged], last_run: Entry | None, now: datetime
) -> tuple[Mark, list[str]]:
    """How it stands, and why, the worst first."""
    if model.release is None:
        return "unreleased", []
    problems = list(_problems(server, judged, last_run))
    cautions = list(_cautions(model, server, judged, last_run, now))
    mark: Mark = "problem" if problems else "attention" if cautions else "fine"
    return mark, problems + cautions


def _problems(server: Server, judged: list[Judged], last_run: Entry | None) -> Iterator[str]:
    if server.state in BROKEN:
        yield SERVERS[server.state]
    if server.problem:
        yield server.problem
    yield from (ALERTS[one.kind] for one in judged if one.status == "alert" and one.current)
    if last_run and last_run.state == "failed":
        yield "its last run failed"


def _cautions(
    model: DeployedModelState, server: Server, judged: list[Judged], last_run: Entry | None, now: datetime
) -> Iterator[str]:
    if server.state in SERVERS and server.state not in BROKEN:
        yield SERVERS[server.state]
    yield from (FAILED[one.kind] for one in judged if one.status == "failed" and one.current)
    if last_run and last_run.state == "rejected":
        yield "the gate rejected its last candidate"
    newest = max((one.time for one in judged), default=None)
    if newest and now - newest > NOT_JUDGED_FOR:
        yield f"not judged for {format_duration(timedelta(hours=(now - newest) // timedelta(hours=1)))}"
    stale = model.usecase.monitoring.stale_after
    if stale and model.since and now - model.since > stale:
        yield f"released for longer than {format_duration(stale)}"


def _subject(assessment: Assessment) -> str | None:
    if assessment.kind == "quality":
        metric = assessment.detail.get("metric")
        return str(metric) if metric is not None else None
    columns = columns_of(assessment)
    return str(columns[0]["column"]) if columns else None
