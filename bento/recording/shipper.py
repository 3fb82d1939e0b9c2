"""Sending closed segments to the monitor, the oldest first, until it has them.

2xx                           it has them: the segment goes
409, 500, 4xx without reason  it does not take this one now: the others go first, this one is tried again
401, 403, 404, 405, 408,      it takes nothing now, or is not set up yet: all wait
425, 429, 3xx, other 5xx,
no connection
4xx that says why             it will never take this one: put aside, its predictions are lost and counted

Only a monitor says why, by a problem document (RFC 9457): a proxy between that answers 400 or 413 loses nothing. Pauses
grow from half a second to a minute, with jitter; Retry-After is heeded, up to a minute. What has waited longer than the
spool allows, and could not be sent for ten minutes either, is dropped, the oldest first.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from bento.recording import segments
from bento.recording.losses import Losses
from bento.recording.metrics import RecordingMetrics
from bento.recording.spool import Spool

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
ADOPT_SECONDS = 30.0
IDLE_SECONDS = 5.0
ANSWER_SECONDS = 30.0
PATIENCE_SECONDS = 600.0  # a server that was off for longer than its spool keeps things sends them nevertheless
MOST_IN_A_ROW = 5  # segments that are not taken; then the monitor is left alone for a while
PROBLEM = "application/problem+json"
NOT_NOW = frozenset({401, 403, 404, 405, 408, 425, 429})
NOT_THIS_ONE_NOW = frozenset({409, 500})

log = logging.getLogger("bento")


@dataclass(frozen=True)
class Address:
    """Where the monitor is, and what it lets a server in with."""

    monitor: str
    token: str = field(default="", repr=False)


class ShipOutcome(Enum):
    TAKEN = "taken"
    REFUSED = "refused"
    DEFERRED = "deferred"
    AWAY = "away"


@dataclass(frozen=True)
class MonitorResponse:
    """What the monitor said. `retry_after`: seconds that it asks for."""

    outcome: ShipOutcome
    words: str
    retry_after: float = 0.0


@dataclass
class _Deferred:
    since: float
    attempts: int = 0
    not_before: float = 0.0


class Shipper:
    """A thread that posts what the spool holds. Where to is asked every time: a token is changed while servers run."""

    def __init__(
        self,
        spool: Spool,
        address: Callable[[], Address | None],
        metrics: RecordingMetrics,
        losses: Losses,
        keep_seconds: float,
    ) -> None:
        self.spool = spool
        self.metrics = metrics
        self.losses = losses
        self._keep_seconds = keep_seconds
        self._address = address
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._deferred: dict[str, _Deferred] = {}
        self._pause = 0.0
        self._asked_for = 0.0  # by Retry-After
        self._away_since: float | None = None
        self._adopted = float("-inf")
        self._told = ""
        self._thread = threading.Thread(target=self._run, name="shipping", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """There is something to ship."""
        self._wake.set()

    def close(self, seconds: float) -> None:
        """Ship what is there for at most this long; the first failure ends it."""
        self._deadline = time.monotonic() + seconds
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(seconds + 1)
        left = len(self.spool.waiting())
        if left:
            log.warning("%d segments of predictions stay in %s; the next server ships them", left, self.spool.root)

    def _run(self) -> None:
        import httpx

        try:
            with httpx.Client(headers={"content-type": segments.MEDIA_TYPE}) as client:
                while not self._closing.is_set():
                    if self._ship_all(client):
                        self._wake.wait(IDLE_SECONDS)
                    else:
                        self._closing.wait(min(LONGEST_PAUSE_SECONDS, self._asked_for + jittered(self._pause)))
                    self._wake.clear()
                self._ship_all(client)
        except Exception:
            log.exception("shipping predictions ended; they stay in %s", self.spool.root)

    def _ship_all(self, client: "httpx.Client") -> bool:
        """Everything that is due; False when the monitor takes nothing now."""
        self._adopt()
        waiting = self.spool.waiting()
        names = {path.name for path in waiting}
        self._deferred = {name: deferred for name, deferred in self._deferred.items() if name in names}
        in_a_row = 0
        for path in waiting:
            deferred = self._deferred.get(path.name)
            if deferred and time.monotonic() < deferred.not_before:
                continue
            if time.monotonic() >= self._deadline:
                return True
            try:
                outcome = self._ship(client, path)
            except FileNotFoundError:  # dropped for newer ones meanwhile
                continue
            except OSError as error:
                self._tell(f"{path} cannot be shipped: {error.strerror}")
                continue
            in_a_row = in_a_row + 1 if outcome is ShipOutcome.DEFERRED else 0
            if outcome is ShipOutcome.AWAY or in_a_row == MOST_IN_A_ROW:
                self._back_off()
                self._drop_too_old()
                return False
        self._drop_too_old()
        return True

    def _ship(self, client: "httpx.Client", path: Path) -> ShipOutcome:
        """One segment."""
        with self.spool.sending(path):
            data = path.read_bytes()
            answer = self._post(client, data)
            self._asked_for = answer.retry_after
            if answer.outcome is ShipOutcome.AWAY:
                self._tell(f"the monitor takes no predictions now: {answer.words}; they wait in {self.spool.root}")
            elif answer.outcome is ShipOutcome.DEFERRED:
                self._defer(path, answer)
            else:
                self._settle(path, data, answer)
        return answer.outcome

    def _settle(self, path: Path, data: bytes, answer: MonitorResponse) -> None:
        """It will not be sent again."""
        self._pause, self._away_since = 0.0, None
        self._tell("")
        predictions = segments.count_predictions(data)
        if answer.outcome is ShipOutcome.TAKEN:
            self.metrics.shipped.inc(predictions)
            self.spool.drop(path)
        else:
            why = f"the monitor refused the predictions in {path.name}, and perhaps others: {answer.words}"
            self.losses.drop("refused", predictions, why)
            self.spool.refuse(path)
        self._deferred.pop(path.name, None)

    def _defer(self, path: Path, answer: MonitorResponse) -> None:
        """Let the others go first."""
        if not self._deferred:
            log.warning("the monitor does not take %s now: %s; it is tried again", path.name, answer.words)
        deferred = self._deferred.setdefault(path.name, _Deferred(since=time.monotonic()))
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(deferred.attempts, 10))
        deferred.attempts += 1
        deferred.not_before = time.monotonic() + jittered(pause)

    def _back_off(self) -> None:
        self._pause = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, self._pause * 2))
        if self._away_since is None:
            self._away_since = time.monotonic()

    def _drop_too_old(self) -> None:
        """What has waited for longer than the spool allows, unless it was not tried for long enough."""
        tried_since = time.monotonic() - PATIENCE_SECONDS
        is_away = self._away_since is not None and self._away_since <= tried_since
        if not is_away and not self._deferred:
            return

        def may_go(name: str) -> bool:
            deferred = self._deferred.get(name)
            return is_away or (deferred is not None and deferred.since <= tried_since)

        try:
            dropped = self.spool.expire(time.time() - self._keep_seconds, may_go)
        except OSError as error:
            self._tell(f"{self.spool.root} cannot be cleared: {error.strerror}")
            return
        if dropped:
            hours = self._keep_seconds / 3600
            self.losses.drop("too-old", dropped, f"predictions that have waited for {hours:g} hours are dropped")

    def _post(self, client: "httpx.Client", data: bytes) -> MonitorResponse:
        import httpx

        to = self._address()
        if to is None:
            return MonitorResponse(ShipOutcome.AWAY, "nothing says any more where it is")
        url, headers = f"{to.monitor}/predictions", {"authorization": f"Bearer {to.token}"} if to.token else {}
        seconds = max(0.1, min(ANSWER_SECONDS, self._deadline - time.monotonic()))
        timeout = httpx.Timeout(seconds, connect=min(5.0, seconds))
        try:
            answer = client.post(url, content=data, headers=headers, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return MonitorResponse(ShipOutcome.AWAY, f"{url}: {type(error).__name__} {error}".strip())
        words = f"{url} answered {answer.status_code} {answer.text[:200]}".strip()
        return MonitorResponse(outcome_of(answer), words, _retry_after(answer))

    def _adopt(self) -> None:
        """What dead servers left is looked for now and then."""
        if time.monotonic() - self._adopted < ADOPT_SECONDS:
            return
        self._adopted = time.monotonic()
        try:
            found = self.spool.adopt()
            dropped = self.spool.make_room(0)
        except OSError as error:
            self._tell(f"predictions cannot be kept in {self.spool.root}: {error.strerror}")
            return
        if found:
            log.info("%d segments of predictions found in %s", found, self.spool.root)
        if dropped:
            self.losses.drop("spool-full", dropped, f"other servers left more than fits in {self.spool.root}")

    def _tell(self, trouble: str) -> None:
        """Each trouble once, not at every attempt."""
        if trouble and trouble != self._told:
            log.warning("%s", trouble)
        elif self._told and not trouble:
            log.warning("the monitor takes predictions again")
        self._told = trouble


def outcome_of(answer: "httpx.Response") -> ShipOutcome:
    """What an answer means for the segment that was sent."""
    if answer.is_success:
        return ShipOutcome.TAKEN
    if answer.status_code in NOT_THIS_ONE_NOW:
        return ShipOutcome.DEFERRED
    if not answer.is_client_error or answer.status_code in NOT_NOW:
        return ShipOutcome.AWAY
    says_why = answer.headers.get("content-type", "").partition(";")[0].strip() == PROBLEM
    return ShipOutcome.REFUSED if says_why else ShipOutcome.DEFERRED


def jittered(seconds: float) -> float:
    """Between half and all of it, so that servers do not come back at the same moment."""
    return seconds * random.uniform(0.5, 1)  # noqa: S311 - no secret


def _retry_after(answer: "httpx.Response") -> float:
    """Seconds; a date is not understood."""
    told = answer.headers.get("retry-after", "").strip()
    return float(told) if told.isascii() and told.isdigit() else 0.0
