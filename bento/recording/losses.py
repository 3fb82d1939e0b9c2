"""What is not kept: counted by reason at once, and logged once per burst, with a total when the burst is over."""

import logging
import threading
import time
from dataclasses import dataclass

from bento.recording.metrics import RecordingMetrics

BURST_SECONDS = 60.0  # without a loss for so long, a burst is over

log = logging.getLogger("bento")


@dataclass
class _Burst:
    why: str
    predictions: int = 0
    last: float = 0.0
    is_told: bool = False


class Losses:
    """Threads may share one; only `report` writes to the log."""

    def __init__(self, metrics: RecordingMetrics) -> None:
        self._metrics = metrics
        self._bursts: dict[str, _Burst] = {}
        self._guard = threading.Lock()

    def drop(self, reason: str, predictions: int, why: str) -> None:
        """Predictions that the monitor will not see. Never waits for a disk; the first `why` of a burst is logged."""
        self._metrics.drop(reason, predictions)
        with self._guard:
            burst = self._bursts.setdefault(reason, _Burst(why))
            burst.predictions += predictions
            burst.last = time.monotonic()

    def report(self, *, is_last: bool = False) -> None:
        """Log the bursts that have begun and those that are over; with `is_last` all of them."""
        with self._guard:
            if not self._bursts:
                return
            begun = [burst for burst in self._bursts.values() if not burst.is_told]
            for burst in begun:
                burst.is_told = True
            quiet = time.monotonic() - BURST_SECONDS
            over = [reason for reason, burst in self._bursts.items() if is_last or burst.last < quiet]
            ended = {reason: self._bursts.pop(reason) for reason in over}
        for burst in begun:
            log.error("%s", burst.why)
        for reason, burst in ended.items():
            log.warning("predictions that the monitor will not see: %d (%s)", burst.predictions, reason)
