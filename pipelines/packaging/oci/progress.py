"""Long transfers tell how far they are; short ones say nothing."""

import time
from collections.abc import Callable

EVERY_SECONDS = 5.0


class Announcer:
    """A `Progress` that says a line now and then."""

    def __init__(
        self, say: Callable[[str], object], every: float = EVERY_SECONDS, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say, self._every, self._clock = say, every, clock
        self._last = clock()

    def __call__(self, digest: str, done: int, total: int) -> None:
        now = self._clock()
        if now - self._last >= self._every:
            self._last = now
            self._say(f"uploading {digest[7:19]}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")
