"""retrain_requests_total and pending requests, read from the database when Prometheus asks.

They count what the database holds: a monitor that is started again goes on counting where the last one stopped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pipelines.predictions.store.errors import StoreError
from pipelines.retraining.triggers import PENDING

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

    from pipelines.retraining.queue import TriggerTable

REQUESTS = "retrain_requests"  # Prometheus adds _total
PENDING_GAUGE, RUNNING_GAUGE = "retrain_pending", "retrain_running"
LABELS = ("usecase", "reason")


class TriggerMetrics:
    """A collector over the trigger table."""

    def __init__(self, table: TriggerTable, registry: CollectorRegistry) -> None:
        self._table = table
        registry.register(self)  # type: ignore[arg-type]  # a collector by its shape

    def collect(self) -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        requests = CounterMetricFamily(
            REQUESTS, "Requests for a run, by what came of them.", labels=(*LABELS, "outcome")
        )
        pending = GaugeMetricFamily(PENDING_GAUGE, "Requests that wait for their run.", labels=LABELS)
        running = GaugeMetricFamily(RUNNING_GAUGE, "Requests whose run is under way.", labels=LABELS)
        waiting: Counter[tuple[str, str]] = Counter()
        for usecase, reason, state, count in self._counts():
            if state in PENDING:
                waiting[usecase, reason] += count
            elif state == "running":
                running.add_metric((usecase, reason), count)
            else:
                requests.add_metric((usecase, reason, state), count)
        for labels, count in waiting.items():
            pending.add_metric(labels, count)
        yield from (requests, pending, running)

    def describe(self) -> Iterator[Metric]:
        """Nothing is read from the database to register."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        yield CounterMetricFamily(REQUESTS, "Requests for a run, by what came of them.")
        yield GaugeMetricFamily(PENDING_GAUGE, "Requests that wait for their run.")
        yield GaugeMetricFamily(RUNNING_GAUGE, "Requests whose run is under way.")

    def _counts(self) -> list[tuple[str, str, str, int]]:
        try:
            return self._table.counts()
        except StoreError:
            return []  # the other metrics are still told; a series that is absent is what alerts look at
