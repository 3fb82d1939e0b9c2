"""Five cron fields in the form that every scheduler reads (POSIX crontab, with steps)."""

import re
from datetime import UTC, datetime

FIELDS = (("minute", 0, 59), ("hour", 0, 23), ("day of the month", 1, 31), ("month", 1, 12), ("weekday", 0, 7))


def check_cron(text: str) -> None:
    """Check a schedule as the monitor will read it.

    Raises:
        ValueError: names the field that is wrong and the values it may have, or says that no such day exists.
    """
    fields = text.split()
    if len(fields) != len(FIELDS):
        raise ValueError(
            f"{text!r} has {len(fields)} fields; write five (minute hour day month weekday), such as '0 3 * * 1'"
        )
    for field, (name, low, high) in zip(fields, FIELDS, strict=True):
        if not all(_is_valid(item, low, high) for item in field.split(",")):
            raise ValueError(
                f"the {name} {field!r} is not valid; it goes from {low} to {high}, as in *, 5, 1-5, 1,3 or */15"
            )
    if not _ever_comes(text):
        raise ValueError(f"{text!r} names a day that never comes, such as the 30th of February")


def _ever_comes(text: str) -> bool:
    from cronsim import CronSim, CronSimError

    try:
        next(CronSim(text, datetime(2024, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        return False
    return True


def _is_valid(item: str, low: int, high: int) -> bool:
    match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/(\d+))?", item, re.ASCII)
    if not match:
        return False
    first, last, step = (int(group) if group else None for group in match.groups())
    if step == 0 or (step is not None and first is not None and last is None):
        return False
    if first is None:
        return True
    return low <= first <= (first if last is None else last) <= high
