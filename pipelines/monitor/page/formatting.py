"""How times, numbers and states are written."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

MARKS = {"problem": "Problem", "attention": "Attention", "fine": "Fine", "unreleased": "Not released"}
COUNTED = {"problem": "with problems", "attention": "to look at", "fine": "fine", "unreleased": "not released"}
SHAPES = {"problem": "■", "attention": "▲", "fine": "●", "unreleased": "○"}
STATUSES = {"ok": "Within", "alert": "Beyond", "too-few": "Too few", "skipped": "Skipped", "failed": "Failed"}
STATUS_MARKS = {
    "ok": "fine",
    "alert": "problem",
    "too-few": "unreleased",
    "skipped": "unreleased",
    "failed": "attention",
}
KINDS = {
    "quality": "Live quality",
    "inputs": "Drift of requests",
    "predictions": "Drift of answers",
    "labels": "True values",
}
NOTHING = "—"


def figure(value: float | None) -> str:
    """A number short enough for a table: three digits after the point, or as many as say something."""
    if value is None:
        return NOTHING
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.3f}" if size >= 0.001 or value == 0 else f"{value:.2g}"


def limit(value: float | None) -> str:
    """A limit as people wrote it."""
    return NOTHING if value is None else f"{value:g}"


def share(value: float | None) -> str:
    """A ratio in percent; 0 and 100 only where it is just that."""
    if value is None:
        return NOTHING
    if 0 < value < 0.01 or 0.99 < value < 1:
        return f"{value * 100:.1f} %"
    return f"{value * 100:.0f} %"


def span(seconds: float | None) -> str:
    """A length of time in one unit, or in two while that matters."""
    if seconds is None:
        return NOTHING
    seconds = max(0.0, seconds)
    if 0 < seconds < 1:
        return f"{seconds:.1f} s"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def age(then: datetime | None, now: datetime) -> str:
    """How long ago, or in what time."""
    if then is None:
        return NOTHING
    seconds = (now - then).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def moment(time: datetime | None) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M}" if time else NOTHING


def many(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def listed(parts: Sequence[str]) -> str:
    """`a, b and c`."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""
