"""Ever longer pauses between attempts. What may be tried again, and for how long, is the caller's to know.

`pipelines` uses it as well; a Bento carries `bento` alone, so it is kept here.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """How long to wait after each failure in a row, in seconds.

    first: after the first failure.
    longest: no pause is longer, before jitter.
    factor: how much longer each pause is than the one before.
    jitter: the share by which a pause is shortened or lengthened by chance, so that many do not come back at once.
    """

    first: float
    longest: float = 60.0
    factor: float = 2.0
    jitter: float = 0.0

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row; none after no failure."""
        if failures < 1:
            return 0.0
        steps = min(failures - 1, 64)  # a power beyond it overflows, and is longer than the longest anyway
        pause = min(self.first * self.factor**steps, self.longest)
        return pause * random.uniform(1 - self.jitter, 1 + self.jitter) if self.jitter else pause  # noqa: S311

    def attempts(self, most: int, sleep: Callable[[float], None] = time.sleep) -> Iterator[int]:
        """The numbers 0 to `most` - 1, with a pause before each but the first."""
        for attempt in range(most):
            if attempt:
                sleep(self.pause(attempt))
            yield attempt
