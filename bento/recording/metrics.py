"""What a server tells of the predictions it records."""

import time

from bento.metrics import register
from bento.recording.spool import Spool

REASONS = ("queue-full", "spool-full", "spool-broken", "too-old", "refused")


class RecordingMetrics:
    """Counters are of predictions; a request may hold many."""

    def __init__(self, spool: Spool) -> None:
        from prometheus_client import Counter, Gauge

        self.recorded = register(Counter, "model_predictions_recorded_total", "Predictions written to the spool")
        self.shipped = register(Counter, "model_predictions_shipped_total", "Predictions that the monitor has taken")
        self._dropped = register(
            Counter, "model_predictions_dropped_total", "Predictions that were not kept, by reason", ["reason"]
        )
        for reason in REASONS:  # a counter that begins at nothing shows its first loss as an increase
            self._dropped.labels(reason=reason)
        waiting = register(Gauge, "model_predictions_spooled_bytes", "Bytes that wait on disk for the monitor")
        oldest = register(Gauge, "model_predictions_oldest_spooled_seconds", "Age of the oldest that waits on disk")
        waiting.set_function(lambda: spool.bytes)
        oldest.set_function(lambda: _age(spool))

    def drop(self, reason: str, predictions: int) -> None:
        self._dropped.labels(reason=reason).inc(predictions)


def _age(spool: Spool) -> float:
    try:
        oldest = spool.oldest()
    except OSError:
        return 0.0
    return 0.0 if oldest is None else max(0.0, time.time() - oldest)
