"""What the monitor tells Prometheus. Limits are metrics too, so that one generic rule serves all models.

model_drift_score{usecase,environment,column,kind}     kind: inputs or predictions
model_drift_threshold{usecase,environment}
model_quality{usecase,environment,metric}              model_quality_lower, model_quality_upper: its interval
model_quality_threshold{usecase,environment,metric,bound}   bound: at_least or at_most
model_label_coverage_ratio{usecase,environment}
model_label_lag_seconds{usecase,environment,quantile}
model_assessment_status{usecase,environment,kind,status}    1 for the status that it has, 0 for the others
model_assessment_timestamp_seconds{usecase,environment,kind}
retrain_requests_total{usecase,reason,outcome}         see pipelines.monitor.metrics.triggers
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, get_args

from pipelines.assessment.assess import Assessment, AssessmentStatus

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

PLACE = ("usecase", "environment")
NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "model_drift_score": ("Distance from the training data, by column.", (*PLACE, "column", "kind")),
    "model_drift_threshold": ("Above it a column has drifted.", PLACE),
    "model_quality": ("The use case's metric on labelled predictions.", (*PLACE, "metric")),
    "model_quality_lower": ("Lower end of the metric's 95 % interval.", (*PLACE, "metric")),
    "model_quality_upper": ("Upper end of the metric's 95 % interval.", (*PLACE, "metric")),
    "model_quality_threshold": ("The metric's limit.", (*PLACE, "metric", "bound")),
    "model_label_coverage_ratio": ("Share of due predictions whose true value is known.", PLACE),
    "model_label_lag_seconds": ("Time from a prediction to its true value.", (*PLACE, "quantile")),
    "model_assessment_status": ("1 for the status that the last evaluation gave.", (*PLACE, "kind", "status")),
    "model_assessment_timestamp_seconds": ("When the last evaluation was.", (*PLACE, "kind")),
}

MetricSample = tuple[str, tuple[str, ...], float]


class AssessmentMetrics:
    """The last evaluation of each use case as gauges of one registry. Threads may share it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._samples: dict[tuple[str, str], list[MetricSample]] = {}
        self._guard = threading.Lock()
        registry.register(self)  # type: ignore[arg-type]  # a collector by its shape

    def show(self, assessments: Sequence[Assessment]) -> None:
        """Show the evaluation of a use case instead of its last one: what it no longer says is gone."""
        by_place: dict[tuple[str, str], list[MetricSample]] = {}
        for one in assessments:
            by_place.setdefault((one.usecase, one.environment), []).extend(_samples(one))
        with self._guard:
            self._samples |= by_place

    def keep_only(self, places: Iterable[tuple[str, str]]) -> None:
        """Forget use cases and environments that are not watched any more."""
        kept = set(places)
        with self._guard:
            self._samples = {place: samples for place, samples in self._samples.items() if place in kept}

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        families = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in NAMES.items()}
        with self._guard:
            samples = [sample for shown in self._samples.values() for sample in shown]
        for name, labels, value in samples:
            families[name].add_metric(labels, value)
        yield from families.values()

    def describe(self) -> Iterator[Metric]:
        """Names alone, so that a registry refuses a second metric of the same name."""
        from prometheus_client.core import GaugeMetricFamily

        for name, (text, labels) in NAMES.items():
            yield GaugeMetricFamily(name, text, labels=labels)


def _samples(one: Assessment) -> list[MetricSample]:
    place = (one.usecase, one.environment)
    told: list[MetricSample] = [
        ("model_assessment_timestamp_seconds", (*place, one.kind), one.time.timestamp()),
        *(
            ("model_assessment_status", (*place, one.kind, status), float(status == one.status))
            for status in get_args(AssessmentStatus)
        ),
    ]
    tell = {"inputs": _drift, "predictions": _drift, "quality": _quality, "labels": _labels}[one.kind]
    return told + tell(one, place)


def _drift(one: Assessment, place: tuple[str, str]) -> list[MetricSample]:
    told: list[MetricSample] = [
        ("model_drift_score", (*place, column["column"], one.kind), float(column["score"]))
        for column in _list(one.detail.get("columns"))
        if column["score"] is not None
    ]
    # The limit is the same for inputs and predictions; a metric must not have the same labels twice.
    if one.threshold is not None and one.kind == "inputs":
        told.append(("model_drift_threshold", place, one.threshold))
    return told


def _quality(one: Assessment, place: tuple[str, str]) -> list[MetricSample]:
    metric, bound = str(one.detail["metric"]), str(one.detail["bound"])
    told: list[MetricSample] = []
    if one.threshold is not None:
        told.append(("model_quality_threshold", (*place, metric, bound), one.threshold))
    if one.value is not None:
        told.append(("model_quality", (*place, metric), one.value))
        ends = zip(("model_quality_lower", "model_quality_upper"), _list(one.detail.get("interval")), strict=False)
        told += [(name, (*place, metric), float(end)) for name, end in ends]
    return told


def _labels(one: Assessment, place: tuple[str, str]) -> list[MetricSample]:
    told: list[MetricSample] = []
    if one.value is not None:
        told.append(("model_label_coverage_ratio", place, one.value))
    for quantile, key in (("0.5", "lag_median_seconds"), ("0.95", "lag_p95_seconds")):
        lag: Any = one.detail.get(key)
        if lag is not None:
            told.append(("model_label_lag_seconds", (*place, quantile), float(lag)))
    return told


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
