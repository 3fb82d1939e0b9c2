"""Sending closed segments to the monitor, the oldest first, until it has them.

2xx                           it has them: the segment goes
409, 500                      it cannot take this one now: the others go first; given up after some attempts
401, 403, 404, 405, 408,      it takes nothing now, or is not set up yet: all wait, longer each time,
425, 429, 3xx, other 5xx,     and when the spool is full, new ones are dropped
no connection
other 4xx, such as 400, 413   it will never take this one: put aside, its predictions are lost and counted
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
from bento.recording.metrics import RecordingMetrics
from bento.recording.spool import Spool

if TYPE_CHECKING:
    import httpx

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 60.0
ADOPT_SECONDS = 30.0
IDLE_SECONDS = 5.0
ANSWER_SECONDS = 30.0
MOST_ATTEMPTS = 10
NOT_NOW = frozenset({401, 403, 404, 405, 408, 425, 429})
NOT_THIS_ONE_NOW = frozenset({409, 500})

log = logging.getLogger("bento")


@dataclass(frozen=True)
class Address:
    """Where the monitor is, and what it lets a server in with."""

    monitor: str
    token: str = field(default="", repr=False)


class Outcome(Enum):
    TAKEN = "taken"
    REFUSED = "refused"
    DEFERRED = "deferred"
    AWAY = "away"


@dataclass(frozen=True)
class Answer:
    outcome: Outcome
    words: str


@dataclass
class _Deferred:
    attempts: int = 0
    not_before: float = 0.0


class Shipper:
    """A thread that posts what the spool holds. Where to is asked every time: a token is changed while servers run."""

    def __init__(self, spool: Spool, address: Callable[[], Address | None], metrics: RecordingMetrics) -> None:
        self.spool = spool
        self.metrics = metrics
        self._address = address
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._deferred: dict[str, _Deferred] = {}
        self._pause = 0.0
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
                        self._closing.wait(self._pause * random.uniform(0.5, 1))  # noqa: S311 - no secret
                    self._wake.clear()
                self._ship_all(client)
        except Exception:
            log.exception("shipping predictions ended; they stay in %s", self.spool.root)

    def _ship_all(self, client: "httpx.Client") -> bool:
        """Everything that is due; False when the monitor takes nothing now."""
        self._adopt()
        for path in self.spool.waiting():
            deferred = self._deferred.get(path.name)
            if deferred and time.monotonic() < deferred.not_before:
                continue
            if time.monotonic() >= self._deadline:
                return True
            try:
                if not self._ship(client, path):
                    return False
            except OSError as error:
                self._tell(f"{path} cannot be shipped: {error.strerror}")
        return True

    def _ship(self, client: "httpx.Client", path: Path) -> bool:
        """One segment; False when the monitor takes nothing now."""
        data = path.read_bytes()
        answer = self._post(client, data)
        if answer.outcome is Outcome.AWAY:
            self._pause = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, self._pause * 2))
            self._tell(f"the monitor takes no predictions now: {answer.words}; they wait in {self.spool.root}")
            return False
        self._pause = 0.0
        self._tell("")
        if answer.outcome is Outcome.TAKEN:
            self.metrics.shipped.inc(segments.count_predictions(data))
            self.spool.drop(path)
        elif answer.outcome is Outcome.REFUSED or self._is_given_up(path):
            self.metrics.drop("refused", segments.count_predictions(data))
            self.spool.refuse(path)
            log.error("the monitor refused the predictions in %s: %s", path.name, answer.words)
        else:
            return True
        self._deferred.pop(path.name, None)
        return True

    def _post(self, client: "httpx.Client", data: bytes) -> Answer:
        import httpx

        to = self._address()
        if to is None:
            return Answer(Outcome.AWAY, "nothing says any more where it is")
        url, headers = f"{to.monitor}/predictions", {"authorization": f"Bearer {to.token}"} if to.token else {}
        seconds = max(0.1, min(ANSWER_SECONDS, self._deadline - time.monotonic()))
        timeout = httpx.Timeout(seconds, connect=min(5.0, seconds))
        try:
            answer = client.post(url, content=data, headers=headers, timeout=timeout)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError) as error:
            return Answer(Outcome.AWAY, f"{url}: {type(error).__name__} {error}".strip())
        words = f"{url} answered {answer.status_code} {answer.text[:200]}".strip()
        if answer.is_success:
            return Answer(Outcome.TAKEN, words)
        if answer.status_code in NOT_THIS_ONE_NOW:
            return Answer(Outcome.DEFERRED, words)
        is_refused = answer.is_client_error and answer.status_code not in NOT_NOW
        return Answer(Outcome.REFUSED if is_refused else Outcome.AWAY, words)

    def _is_given_up(self, path: Path) -> bool:
        """One attempt more; True when it was the last."""
        deferred = self._deferred.setdefault(path.name, _Deferred())
        deferred.attempts += 1
        pause = FIRST_PAUSE_SECONDS * 2 ** min(deferred.attempts, 10)
        deferred.not_before = time.monotonic() + min(LONGEST_PAUSE_SECONDS, pause)
        return deferred.attempts >= MOST_ATTEMPTS

    def _adopt(self) -> None:
        """What dead servers left is looked for now and then."""
        if time.monotonic() - self._adopted < ADOPT_SECONDS:
            return
        self._adopted = time.monotonic()
        try:
            found = self.spool.adopt()
        except OSError as error:
            self._tell(f"predictions cannot be kept in {self.spool.root}: {error.strerror}")
            return
        if found:
            log.info("%d segments of predictions found in %s", found, self.spool.root)

    def _tell(self, trouble: str) -> None:
        """Each trouble once, not at every attempt."""
        if trouble and trouble != self._told:
            log.warning("%s", trouble)
        elif self._told and not trouble:
            log.warning("the monitor takes predictions again")
        self._told = trouble
