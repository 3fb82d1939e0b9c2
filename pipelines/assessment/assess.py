"""One evaluation of one use case at one moment: what its predictions say about inputs, answers, quality and labels.

    inputs       do the requests look like the training data?          worst column against monitoring.drift.threshold
    predictions  do the answers look like those on the training data?  the same
    quality      are the answers right, as far as is known?            the metric against its limit
    labels       do true values arrive at all?                         share of predictions that have one

Nothing is written but the HTML report, whole or not at all: an evaluation that is killed leaves nothing half.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import JsonValue

from pipelines.assessment.drift import TableDrift, compare_tables, judge_drift, measure_distances
from pipelines.assessment.features import CONFIDENCE, LABEL, VALUE, compared_columns, describe_rows, is_category
from pipelines.assessment.quality import Scored, bound_of, is_beyond, is_surely_beyond, limit_of, score_joined
from pipelines.assessment.reference import Reference, ReferenceSample
from pipelines.assessment.reports import Reports
from pipelines.documents import Value
from pipelines.errors import one_line_with_type
from pipelines.predictions.source import Coverage, PredictionSource
from pipelines.usecase import UseCase
from pipelines.usecase.durations import format_duration
from pipelines.usecase.model import Drift, Quality

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.assessment.comparison import Comparison, Pair

log = logging.getLogger(__name__)

# As many as the reference has: more rows say more than it can, and take longer to read.
SAMPLED_ROWS = 5000
JOINED_ROWS = 20_000
FEWEST_REFERENCE_ROWS = 50
SPAN_WITHOUT_DRIFT = timedelta(hours=24)

AssessmentKind = Literal["inputs", "predictions", "quality", "labels"]
DRIFT_KINDS: tuple[AssessmentKind, AssessmentKind] = ("inputs", "predictions")
AssessmentStatus = Literal["ok", "alert", "too-few", "skipped", "failed"]


class Assessment(Value):
    """What one evaluation found. `value` is held against `threshold`; `summary` says it in a sentence."""

    id: str
    usecase: str
    environment: str
    kind: AssessmentKind
    time: datetime
    window_start: datetime
    window_end: datetime
    status: AssessmentStatus
    summary: str
    value: float | None = None
    threshold: float | None = None
    detail: dict[str, JsonValue] = {}
    report_path: str | None = None
    bento: str


@dataclass(frozen=True)
class _Scene:
    """What all assessments of one evaluation share."""

    usecase: UseCase
    environment: str
    source: PredictionSource
    reference: Reference
    now: datetime
    reports: Reports | None

    def give(
        self,
        kind: AssessmentKind,
        status: AssessmentStatus,
        window: tuple[datetime, datetime],
        summary: str,
        **more: Any,
    ) -> Assessment:
        return Assessment(
            id=f"{self.usecase.name}.{self.environment}.{kind}.{self.now:%Y%m%dT%H%M%S%fZ}",
            usecase=self.usecase.name,
            environment=self.environment,
            kind=kind,
            time=self.now,
            window_start=window[0],
            window_end=window[1],
            status=status,
            summary=summary,
            bento=self.reference.bento,
            **more,
        )

    def ask(self, window: tuple[datetime, datetime]) -> tuple[str, str, datetime, datetime]:
        return self.usecase.name, self.environment, window[0], window[1]


def assess(
    usecase: UseCase,
    environment: str,
    source: PredictionSource,
    reference: Reference,
    now: datetime,
    *,
    reports: Reports | None = None,
) -> list[Assessment]:
    """Judge the released model's predictions up to `now`; the same data and time give the same assessments.

    What cannot be judged is an assessment that says why. Only what reading the predictions raises is raised.
    """
    scene = _Scene(usecase, environment, source, reference, now.astimezone(UTC), reports)
    found: list[Assessment] = []
    if usecase.monitoring.drift:
        found += _assess_drift(scene, usecase.monitoring.drift)
    if usecase.monitoring.quality:
        found += _assess_quality(scene, usecase.monitoring.quality)
    return found


# --- drift ---------------------------------------------------------------------------------------------------


def _assess_drift(scene: _Scene, rule: Drift) -> list[Assessment]:
    window = (scene.now - rule.window, scene.now)
    sample = scene.reference.sample
    if sample is None:
        why = f"{scene.reference.bento} was packed without a reference sample; the next release has one"
        return [scene.give(kind, "skipped", window, why, threshold=rule.threshold) for kind in DRIFT_KINDS]
    if len(sample.inputs) < FEWEST_REFERENCE_ROWS:
        why = f"the reference has {len(sample.inputs)} rows; at least {FEWEST_REFERENCE_ROWS} are needed"
        return [scene.give(kind, "skipped", window, why, threshold=rule.threshold) for kind in DRIFT_KINDS]
    there = scene.source.coverage(*scene.ask(window), bento=scene.reference.bento).predictions
    if there < rule.min_rows:
        why = f"{there:,} predictions in {format_duration(rule.window)}; {rule.min_rows:,} are needed"
        more = {"threshold": rule.threshold, "detail": {"rows": there}}
        return [scene.give(kind, "too-few", window, why, **more) for kind in DRIFT_KINDS]
    rows = scene.source.predictions(*scene.ask(window), SAMPLED_ROWS, bento=scene.reference.bento)
    try:
        return _judge_drift(scene, rule, sample, rows, there)
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one use case's data must not stop the others
        why = one_line_with_type(error)
        return [scene.give(kind, "failed", window, why, threshold=rule.threshold) for kind in DRIFT_KINDS]


def _judge_drift(
    scene: _Scene, rule: Drift, sample: ReferenceSample, rows: pd.DataFrame, there: int
) -> list[Assessment]:
    """Inputs and predictions are judged apart, and share a report."""
    signature = scene.reference.signature
    chosen, left_out = _watched_columns(scene, rule)
    tables: dict[AssessmentKind, tuple[pd.DataFrame, pd.DataFrame, Callable[[str], bool]]] = {
        "inputs": (
            describe_rows(signature, list(rows["inputs"])),
            sample.inputs[chosen],
            lambda column: is_category(signature, column),
        ),
        "predictions": (_answered(rows), sample.predictions, lambda column: column == LABEL),
    }
    comparisons = {kind: compare_tables(rule, *table) for kind, table in tables.items()}
    pairs = [pair for kind, found in comparisons.items() for pair in _pairs(kind, found)]
    distances = measure_distances(rule, pairs)
    judged = {
        kind: TableDrift(
            method=rule.method,
            threshold=rule.threshold,
            rows=len(rows),
            reference_rows=len(sample.inputs),
            columns=judge_drift(rule, found, _of_kind(kind, distances)),
        )
        for kind, found in comparisons.items()
    }
    report = _keep_report(scene, any(table.drifted for table in judged.values()), rule, pairs, distances)
    return [
        _told_drift(scene, rule, kind, table, there, report, left_out if kind == "inputs" else {})
        for kind, table in judged.items()
    ]


def _told_drift(
    scene: _Scene,
    rule: Drift,
    kind: AssessmentKind,
    table: TableDrift,
    there: int,
    report: _Report,
    left_out: dict[str, str],
) -> Assessment:
    window = (scene.now - rule.window, scene.now)
    detail = table.model_dump(mode="json") | {"predictions": there, "left_out": dict(left_out)}
    if report.problem:
        detail["report_problem"] = report.problem
    worst = table.worst
    if worst is None or worst.score is None:
        return scene.give(
            kind, "skipped", window, "no column could be compared", threshold=rule.threshold, detail=detail
        )
    since = f"on {there:,} predictions since {window[0]:%Y-%m-%d %H:%M}"
    sign = ">" if worst.drifted else "≤"
    note = f" ({worst.note})" if worst.note else ""
    return scene.give(
        kind,
        "alert" if table.drifted else "ok",
        window,
        f"{worst.column} {rule.method} {worst.score:.2f} {sign} {rule.threshold:g} {since}{note}",
        value=worst.score,
        threshold=rule.threshold,
        detail=detail,
        report_path=str(report.path) if report.path else None,
    )


def _watched_columns(scene: _Scene, rule: Drift) -> tuple[list[str], dict[str, str]]:
    """The columns to compare, and why the others that were asked for are not."""
    told_by = compared_columns(scene.reference.signature)
    wanted = rule.columns or list(scene.reference.signature.fields)
    not_stored = _kept_back(scene.usecase)
    left_out = {name: "the released model does not take it" for name in wanted if name not in told_by.values()}
    left_out |= {name: not_stored[name] for name in wanted if name in not_stored}
    return [column for column, name in told_by.items() if name in wanted and name not in left_out], left_out


def _kept_back(usecase: UseCase) -> dict[str, str]:
    """Features whose values are not in the store as they were sent, by monitoring.store.columns."""
    told = {"drop": "is not stored (monitoring.store)", "hash": "is stored as a hash (monitoring.store)"}
    return {name: told[kept] for name, kept in usecase.monitoring.store.columns.items() if kept in told}


def _answered(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns of the predictions under the names that the reference has for them."""
    import pandas as pd

    from pipelines.assessment.features import class_text

    labels = [None if label is None or label != label else class_text(label) for label in rows[LABEL]]  # noqa: PLR0124
    return pd.DataFrame(
        {
            LABEL: pd.Series(labels, dtype=object),
            CONFIDENCE: rows[CONFIDENCE].astype("float32").to_numpy(),
            VALUE: rows[VALUE].astype("float32").to_numpy(),
        }
    )


def _pairs(kind: str, comparisons: list[Comparison]) -> list[Pair]:
    """What there is to measure, named so that inputs and predictions do not mix in one report."""
    from dataclasses import replace

    parts = (pair for comparison in comparisons for pair in (comparison.values, comparison.presence) if pair)
    return [replace(pair, name=f"{kind}: {pair.name}") for pair in parts]


def _of_kind(kind: str, distances: dict[str, float]) -> dict[str, float]:
    head = f"{kind}: "
    return {name.removeprefix(head): score for name, score in distances.items() if name.startswith(head)}


@dataclass(frozen=True)
class _Report:
    """Where the report of an evaluation is; `problem`: why there is none although one was due."""

    path: Path | None = None
    problem: str | None = None


def _keep_report(scene: _Scene, alert: bool, rule: Drift, pairs: list[Pair], distances: dict[str, float]) -> _Report:
    """A verdict stands without its report."""
    place = (scene.usecase.name, scene.environment, scene.now, alert)
    if scene.reports is None or not pairs or not scene.reports.is_due(*place):
        return _Report()
    from pipelines.assessment.evidently_report import draw_report

    try:
        return _Report(path=scene.reports.keep(*place, draw_report(rule, pairs, distances)))
    except Exception as error:
        problem = one_line_with_type(error)
        log.exception("no report of %s in %s: %s", scene.usecase.name, scene.environment, problem)
        return _Report(problem=problem)


# --- quality and labels --------------------------------------------------------------------------------------


def _assess_quality(scene: _Scene, rule: Quality) -> list[Assessment]:
    """Labels come up to `labels_within` late: so the window is as much longer than drift's."""
    drift = scene.usecase.monitoring.drift
    start = scene.now - rule.labels_within - (drift.window if drift else SPAN_WITHOUT_DRIFT)
    due = scene.now - rule.labels_within
    coverage = scene.source.coverage(*scene.ask((start, due)), bento=scene.reference.bento)
    joined = scene.source.joined(*scene.ask((start, scene.now)), JOINED_ROWS, bento=scene.reference.bento)
    return [_judge_quality(scene, rule, joined, start), _judge_labels(scene, rule, coverage, start, due)]


def _judge_quality(scene: _Scene, rule: Quality, joined: pd.DataFrame, start: datetime) -> Assessment:
    window, limit = (start, scene.now), limit_of(rule)
    told: dict[str, Any] = {"metric": rule.metric, "bound": bound_of(rule)}
    if len(joined) < rule.min_labels:
        why = f"{len(joined):,} labelled predictions since {start:%Y-%m-%d %H:%M}; {rule.min_labels:,} are needed"
        return scene.give("quality", "too-few", window, why, threshold=limit, detail=told | {"rows": len(joined)})
    try:
        scored = score_joined(scene.usecase, rule, scene.reference.signature, joined)
    except Exception as error:  # noqa: BLE001 - see above
        return scene.give("quality", "failed", window, one_line_with_type(error), threshold=limit, detail=told)
    if scored.rows < rule.min_labels:
        why = f"{scored.rows:,} of {len(joined):,} labelled predictions can be scored; {rule.min_labels:,} are needed"
        detail = told | scored.model_dump(mode="json")
        return scene.give("quality", "too-few", window, why, threshold=limit, detail=detail)
    return _told_quality(scene, rule, scored, window, told)


def _told_quality(
    scene: _Scene, rule: Quality, scored: Scored, window: tuple[datetime, datetime], told: dict[str, Any]
) -> Assessment:
    limit, detail = limit_of(rule), told | scored.model_dump(mode="json")
    if scored.value is None:
        why = f"{rule.metric} has no value: {scored.problem}"
        return scene.give("quality", "skipped", window, why, threshold=limit, detail=detail)
    beyond = is_beyond(rule, scored.value)
    surely = bool(beyond and scored.interval and is_surely_beyond(rule, scored.interval))
    side = "<" if rule.at_least is not None else ">"
    sign = side if beyond else {"<": "≥", ">": "≤"}[side]
    spread = f" [{scored.interval[0]:.3f}, {scored.interval[1]:.3f}]" if scored.interval else ""
    doubt = "" if surely or not beyond else ", though chance may explain it"
    return scene.give(
        "quality",
        "alert" if beyond else "ok",
        window,
        f"{rule.metric} {scored.value:.3f}{spread} {sign} {limit:g} on {scored.rows:,} labelled predictions "
        f"since {window[0]:%Y-%m-%d %H:%M}{doubt}",
        value=scored.value,
        threshold=limit,
        detail=detail | {"surely_beyond": surely},
    )


def _judge_labels(scene: _Scene, rule: Quality, coverage: Coverage, start: datetime, due: datetime) -> Assessment:
    """An alert where so many predictions are due that their quality should be known, and not one has a label."""
    window, within = (start, due), format_duration(rule.labels_within)
    detail = {
        "predictions": coverage.predictions,
        "labelled": coverage.labelled,
        "lag_median_seconds": coverage.lag_median_seconds,
        "lag_p95_seconds": coverage.lag_p95_seconds,
    }
    told = f"{coverage.labelled:,} of {coverage.predictions:,} predictions older than {within} have a true value"
    if coverage.predictions < rule.min_labels:
        why = f"{told}; {rule.min_labels:,} predictions are needed to judge by"
        return scene.give("labels", "too-few", window, why, value=coverage.ratio, threshold=0.0, detail=detail)
    if coverage.labelled == 0:
        why = f"no labels: {told}"
        return scene.give("labels", "alert", window, why, value=0.0, threshold=0.0, detail=detail)
    return scene.give("labels", "ok", window, told, value=coverage.ratio, threshold=0.0, detail=detail)
