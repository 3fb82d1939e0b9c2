"""A prediction's id: unique, sortable by time, and naming the version that made it.

flight-delays.7.0199c2a1f03b7d41c09e000001
                └ milliseconds ┘└ process ┘└ counter ┘    12, 8 and 6 hex digits
"""

import itertools
import re
import secrets
import time
from datetime import UTC, datetime
from typing import NamedTuple

PATTERN = re.compile(
    r"(?P<usecase>[a-z][a-z0-9-]*)\.(?P<version>[A-Za-z0-9][A-Za-z0-9._-]*)\.(?P<time>[0-9a-f]{12})[0-9a-f]{14}"
)
LATEST_MILLISECONDS = 253_402_300_799_999  # the last of the year 9999, where datetime ends


class PredictionId(NamedTuple):
    """What an id tells."""

    usecase: str
    version: str
    time: datetime


class PredictionIds:
    """Makes the ids of one server process."""

    def __init__(self, bento: str) -> None:
        self._prefix = bento.replace(":", ".", 1)
        self._process = secrets.token_hex(4)
        self._counter = itertools.count(secrets.randbelow(1 << 16))

    def make(self, count: int) -> list[str]:
        head = f"{self._prefix}.{time.time_ns() // 1_000_000:012x}{self._process}"
        return [f"{head}{next(self._counter) & 0xFFFFFF:06x}" for _ in range(count)]


def parse_prediction_id(text: str) -> PredictionId | None:
    """Read an id back; None for anything else."""
    match = PATTERN.fullmatch(text)
    milliseconds = int(match["time"], 16) if match else 0
    if match is None or milliseconds > LATEST_MILLISECONDS:
        return None
    return PredictionId(match["usecase"], match["version"], datetime.fromtimestamp(milliseconds / 1000, UTC))
