"""Durations as people write them: `90s`, `15m`, `24h`, `14d`, `2w`."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
PATTERN = r"^[0-9]+[smhdw]$"
POSITIVE_PATTERN = r"^0*[1-9][0-9]*[smhdw]$"


def parse_duration(value: Any) -> timedelta:
    """`14d` → fourteen days. Anything else is a ValueError that says how to write it."""
    if isinstance(value, timedelta):
        return value
    if isinstance(value, str) and re.fullmatch(r"[0-9]+[smhdw]", value, re.ASCII):
        try:
            return timedelta(**{UNITS[value[-1]]: int(value[:-1])})
        except (OverflowError, ValueError):
            raise ValueError(f"{value} is longer than a duration can be") from None
    raise ValueError(f"{value!r} is not a duration; write a whole number and a unit, such as 90s, 15m, 24h, 14d or 2w")


def format_duration(value: timedelta) -> str:
    """The shortest way to write it: fourteen days → `2w`."""
    seconds = int(value.total_seconds())
    for unit, size in (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("must be longer than nothing")
    return value


_READ = BeforeValidator(parse_duration)
_WRITE = PlainSerializer(format_duration, return_type=str)

Duration = Annotated[timedelta, _READ, _WRITE, WithJsonSchema({"type": "string", "pattern": PATTERN})]
PositiveDuration = Annotated[
    timedelta,
    _READ,
    AfterValidator(_positive),
    _WRITE,
    WithJsonSchema({"type": "string", "pattern": POSITIVE_PATTERN}),
]
