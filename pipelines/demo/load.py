"""Clients that keep asking while something changes, and count every answer."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

PAUSE_SECONDS = 0.05


class Load:
    """A few keep-alive clients in threads; every request that does not get a 200 counts as failed."""

    def __init__(self, url: str, bodies: Sequence[dict[str, Any]], clients: int = 4) -> None:
        self.url = url
        self.bodies = itertools.cycle(bodies)
        self.answered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    @property
    def requests(self) -> int:
        return sum(self.answered.values()) + self.failures

    @property
    def failures(self) -> int:
        return sum(self.failed.values())

    def wait_for_answers(self, count: int, timeout: float = 30) -> None:
        """Until so many answers have come, so that there is load before the change as well as after."""
        deadline = time.monotonic() + timeout
        while sum(self.answered.values()) < count and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)

    def _next(self) -> dict[str, Any]:
        with self._lock:
            return next(self.bodies)

    def _ask(self) -> None:
        import httpx

        with httpx.Client(timeout=10) as client:
            while not self._ended.is_set():
                try:
                    answer = client.post(self.url, json=self._next())
                    answer.raise_for_status()
                    outcome, tally = answer.json()["release"]["bento"], self.answered
                except httpx.HTTPStatusError as error:
                    outcome, tally = str(error.response.status_code), self.failed
                except httpx.HTTPError as error:
                    outcome, tally = type(error).__name__, self.failed
                with self._lock:
                    tally[outcome] += 1
                time.sleep(PAUSE_SECONDS)
