"""What is watched, by which limits, who answers for it, and how its last run ended: as metrics.

model_usecase_info{usecase,environment,owner,contact}      whom alerts go to
model_availability_objective_ratio{usecase,environment}    serving.availability
model_latency_limit_seconds{usecase,environment}           serving.p99_ms
model_stale_after_seconds{usecase,environment}             monitoring.stale_after; none where it is null
model_release_info{usecase,environment,bento,model,commit} what Git says is released
model_release_timestamp_seconds{usecase,environment}       since when
pipeline_run_info{usecase,environment,run,reason,outcome}  the last run that was asked for; `failing`: tried again
pipeline_run_timestamp_seconds{usecase,environment}        when it ended
pipeline_step_seconds{usecase,environment,step}            how long each of its steps worked
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pipelines.predictions.store.errors import StoreError

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from pipelines.retraining.queue import TriggerTable
    from pipelines.retraining.triggers import TriggerRecord
    from pipelines.usecase import UseCase

PLACE = ("usecase", "environment")
WATCHED_NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "model_usecase_info": ("Who answers for the model.", (*PLACE, "owner", "contact")),
    "model_availability_objective_ratio": ("Share of requests to answer without an error of the server's own.", PLACE),
    "model_latency_limit_seconds": ("What 99 of 100 answers are to keep.", PLACE),
    "model_stale_after_seconds": ("How long one version may stay released.", PLACE),
    "model_release_info": ("What Git says is released.", (*PLACE, "bento", "model", "commit")),
    "model_release_timestamp_seconds": ("When it was released.", PLACE),
}
RUN_NAMES: dict[str, tuple[str, tuple[str, ...]]] = {
    "pipeline_run_info": ("The last run that was asked for, and how it ended.", (*PLACE, "run", "reason", "outcome")),
    "pipeline_run_timestamp_seconds": ("When it ended.", PLACE),
    "pipeline_step_seconds": ("How long each of its steps worked.", (*PLACE, "step")),
}
ENDS = ("released", "unchanged", "rejected", "failed")
LOOKED_AT = 500

MetricSample = tuple[str, tuple[str, ...], float]
StepSeconds = Callable[[str], Mapping[str, float]]


@dataclass(frozen=True)
class ReleasedVersion:
    """What Git says is released, and since when, as far as it is known."""

    bento: str
    model: str
    commit: str = ""
    since: datetime | None = None


@dataclass(frozen=True)
class WatchedModels:
    """A use case in an environment. Without a release it is known, and there is nothing to watch yet."""

    usecase: UseCase
    environment: str
    release: ReleasedVersion | None = None


class WatchedMetrics:
    """What is watched, as gauges of one registry. Threads may share it."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._samples: list[MetricSample] = []
        self._guard = threading.Lock()
        registry.register(self)  # type: ignore[arg-type]  # a collector by its shape

    def show(self, watched: Iterable[WatchedModels]) -> None:
        """Show these, and nothing of what was shown before."""
        samples = [sample for one in watched for sample in _of_watched(one)]
        with self._guard:
            self._samples = samples

    def collect(self) -> Iterator[Metric]:
        with self._guard:
            samples = list(self._samples)
        yield from _families(WATCHED_NAMES, samples)

    def describe(self) -> Iterator[Metric]:
        """Names alone, so that a registry refuses a second metric of the same name."""
        yield from _families(WATCHED_NAMES, [])


class RunMetrics:
    """The last run of each use case, read from the trigger table when Prometheus asks; `steps`: of a run's id."""

    def __init__(self, table: TriggerTable, registry: CollectorRegistry, steps: StepSeconds = lambda _run: {}) -> None:
        self._table = table
        self._steps = steps
        registry.register(self)  # type: ignore[arg-type]  # a collector by its shape

    def collect(self) -> Iterator[Metric]:
        try:
            newest = self._table.newest(limit=LOOKED_AT)
        except StoreError:
            newest = []  # the other metrics are still told
        samples = [sample for record in _last_runs(newest) for sample in _of_run(record, self._steps)]
        yield from _families(RUN_NAMES, samples)

    def describe(self) -> Iterator[Metric]:
        """Nothing is read from the database to register."""
        yield from _families(RUN_NAMES, [])


def _families(names: dict[str, tuple[str, tuple[str, ...]]], samples: list[MetricSample]) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    families = {name: GaugeMetricFamily(name, text, labels=labels) for name, (text, labels) in names.items()}
    for name, labels, value in samples:
        families[name].add_metric(labels, value)
    yield from families.values()


def _of_watched(one: WatchedModels) -> list[MetricSample]:
    usecase, release = one.usecase, one.release
    place = (usecase.name, one.environment)
    told: list[MetricSample] = [
        ("model_usecase_info", (*place, usecase.owner.team, usecase.owner.contact), 1.0),
        ("model_availability_objective_ratio", place, usecase.serving.availability),
        ("model_latency_limit_seconds", place, usecase.serving.p99_ms / 1000),
    ]
    if usecase.monitoring.stale_after:
        told.append(("model_stale_after_seconds", place, usecase.monitoring.stale_after.total_seconds()))
    if release:
        told.append(("model_release_info", (*place, release.bento, release.model, release.commit), 1.0))
    if release and release.since:
        told.append(("model_release_timestamp_seconds", place, release.since.timestamp()))
    return told


def _last_runs(records: list[TriggerRecord]) -> list[TriggerRecord]:
    """Of each use case and environment the request whose run ended last."""
    last: dict[tuple[str, str], TriggerRecord] = {}
    for record in records:
        place = (record.usecase, record.environment)
        if record.attempts and record.ended_at and record.state != "refused":
            known = last.get(place)
            if known is None or known.ended_at is None or known.ended_at < record.ended_at:
                last[place] = record
    return list(last.values())


def _of_run(record: TriggerRecord, steps: StepSeconds) -> list[MetricSample]:
    place = (record.usecase, record.environment)
    outcome = record.state if record.state in ENDS else "failing"
    ended = record.ended_at.timestamp() if record.ended_at else 0.0
    return [
        ("pipeline_run_info", (*place, record.run_id or "", record.reason, outcome), 1.0),
        ("pipeline_run_timestamp_seconds", place, ended),
        *(("pipeline_step_seconds", (*place, step), seconds) for step, seconds in steps(record.run_id or "").items()),
    ]
