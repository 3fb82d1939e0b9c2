"""Charts as inline SVG: no script, no picture to fetch, and every one says its numbers in words too.

What is beyond its limit is a square and what is within a dot, so that nothing hangs on a colour.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import groupby, pairwise

from markupsafe import Markup, escape

from pipelines.monitor.page import formatting
from pipelines.monitor.page.formatting import figure, many, moment
from pipelines.monitor.page.view_models import Bound, Point

SPARK_WIDTH, SPARK_HEIGHT, SPARK_EDGE = 96, 22, 3.5
WIDTH, HEIGHT = 520, 190
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 18, 24
MOST_DOTS = 60
DRAWN_ONCE = 1000  # trends change once a minute, and the page may be asked for by many


@dataclass(frozen=True)
class Scale:
    """From a range of values to a range of pixels."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.first + share * (self.last - self.first)


@lru_cache(maxsize=DRAWN_ONCE)
def sparkline(values: tuple[float | None, ...], limit: float | None, bound: Bound, name: str) -> Markup:
    """A line as high as a line of text, with its limit dashed and its last value as a mark."""
    known = [(step, value) for step, value in enumerate(values) if value is not None]
    if not known:
        return Markup("")
    numbers = [value for _, value in known]
    y = Scale(*_range(numbers, limit), SPARK_HEIGHT - SPARK_EDGE, SPARK_EDGE)
    x = Scale(0, max(1, len(values) - 1), SPARK_EDGE, SPARK_WIDTH - SPARK_EDGE)
    parts = [_line([(x(step), y(value)) for step, value in piece], "line") for piece in _unbroken(known)]
    if len(parts) > 1:  # between them nothing was judged: told as a guess
        parts.insert(0, _line([(x(step), y(value)) for step, value in known], "gap"))
    if limit is not None:
        parts.insert(0, _segment(0, y(limit), SPARK_WIDTH, y(limit), "limit"))
    step, last = known[-1]
    parts.append(_dot(x(step), y(last), _is_beyond(last, limit, bound), 2.6))
    told = f"{name}: last {figure(last)}, from {figure(min(numbers))} to {figure(max(numbers))}"
    told += f", limit {formatting.limit(limit)}" if limit is not None else ""
    return _svg(SPARK_WIDTH, SPARK_HEIGHT, "spark", told, parts)


def chart(points: Sequence[Point], name: str) -> Markup:
    """Values over time with their intervals and limit; an upright line where another version came."""
    drawn = [(point, point.value) for point in points if point.value is not None]
    if not drawn:
        return Markup("")
    limit = next((point.threshold for point, _ in reversed(drawn) if point.threshold is not None), None)
    ends = [end for point, _ in drawn for end in point.interval or ()]
    y = Scale(*_range([*(value for _, value in drawn), *ends], limit), HEIGHT - BOTTOM, TOP)
    start, end = points[0].time, points[-1].time
    last_second = max((end - start).total_seconds(), 1.0)
    seconds = Scale(0, last_second, LEFT, WIDTH - RIGHT)

    def x(time: datetime) -> float:
        return seconds((time - start).total_seconds())

    parts = [*_value_axis(y), *_time_axis(start, end, x(start), x(end))]
    parts += [_band(piece, x, y) for piece in _same_version([point for point, _ in drawn])]
    if limit is not None:
        parts.append(_segment(LEFT, y(limit), WIDTH - RIGHT, y(limit), "limit"))
    parts += list(_releases(points, x))
    for piece in _same_version([point for point, _ in drawn]):
        parts.append(_line([(x(point.time), y(point.value or 0.0)) for point in piece], "line"))
    every = math.ceil(len(drawn) / MOST_DOTS)
    for number, (point, value) in enumerate(drawn):
        beyond = point.status == "alert"
        if beyond or (len(drawn) - 1 - number) % every == 0:
            parts.append(_dot(x(point.time), y(value), beyond, 2.4))
    if limit is not None:
        parts.append(_text(LEFT + 3, y(limit) - 4, f"limit {formatting.limit(limit)}", "start", "limit-name"))
    return _svg(WIDTH, HEIGHT, "chart", in_words(points, name), parts)


def in_words(points: Sequence[Point], name: str) -> str:
    """What the chart shows, for those who do not see it."""
    drawn = [point for point in points if point.value is not None]
    if not drawn:
        return f"{name}: no value yet"
    numbers = [point.value for point in drawn if point.value is not None]
    beyond = sum(point.status == "alert" for point in drawn)
    last = drawn[-1]
    spread = f" [{figure(last.interval[0])}, {figure(last.interval[1])}]" if last.interval else ""
    limit = f", limit {formatting.limit(last.threshold)}" if last.threshold is not None else ""
    return (
        f"{name}: last {figure(last.value)}{spread}{limit}; from {figure(min(numbers))} to {figure(max(numbers))} "
        f"since {moment(drawn[0].time)}; {beyond} of {many(len(drawn), 'value')} raised an alert"
    )


# --- parts ---------------------------------------------------------------------------------------------------


def _range(values: Sequence[float], limit: float | None) -> tuple[float, float]:
    """Of the values, and of the limit if it is not so far off that nothing else could be told apart."""
    low, high = min(values), max(values)
    if limit is not None:
        low, high = min(low, limit), max(high, limit)
    room = (high - low) * 0.08 or abs(high) * 0.1 or 1.0
    return (max(low - room, 0.0) if low >= 0 else low - room), high + room


def _is_beyond(value: float, limit: float | None, bound: Bound) -> bool:
    if limit is None:
        return False
    return value < limit if bound == "at_least" else value > limit


def _unbroken(known: Sequence[tuple[int, float]]) -> Iterator[list[tuple[int, float]]]:
    """Runs of values whose steps follow each other."""
    for _, piece in groupby(enumerate(known), key=lambda pair: pair[1][0] - pair[0]):
        yield [value for _, value in piece]


def _same_version(points: Sequence[Point]) -> Iterator[list[Point]]:
    for _, piece in groupby(points, key=lambda point: point.bento):
        yield list(piece)


def _releases(points: Sequence[Point], x: Callable[[datetime], float]) -> Iterator[str]:
    for before, after in pairwise(points):
        if before.bento != after.bento:
            at = x(after.time)
            yield _segment(at, TOP - 4, at, HEIGHT - BOTTOM, "release")
            yield _text(at, TOP - 7, after.bento.partition(":")[2], "middle", "release-name")


def _value_axis(y: Scale) -> Iterator[str]:
    for value in _round_values(y.low, y.high):
        yield _segment(LEFT, y(value), WIDTH - RIGHT, y(value), "grid")
        yield _text(LEFT - 6, y(value) + 3.5, f"{value:g}", "end")


def _round_values(low: float, high: float) -> list[float]:
    """Three to six round numbers between the two."""
    rough = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(rough))
    step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step) + 1)]


def _time_axis(start: datetime, end: datetime, first: float, last: float) -> Iterator[str]:
    form = "%H:%M" if end - start < timedelta(days=2) else "%m-%d"
    form = "%H:%M:%S" if end - start < timedelta(minutes=5) else form
    shown = ((start, first, "start"), (start + (end - start) / 2, (first + last) / 2, "middle"), (end, last, "end"))
    for time, at, anchor in shown if end > start else shown[:1]:
        yield _text(at, HEIGHT - 6, time.astimezone(UTC).strftime(form), anchor)


def _band(piece: Sequence[Point], x: Callable[[datetime], float], y: Scale) -> str:
    known = [(x(point.time), point.interval) for point in piece if point.interval]
    if len(known) < 2:
        return ""
    lower = [f"{at:.1f},{y(interval[0]):.1f}" for at, interval in known]
    upper = [f"{at:.1f},{y(interval[1]):.1f}" for at, interval in reversed(known)]
    return f'<polygon class="band" points="{" ".join(lower + upper)}"/>'


def _line(places: Sequence[tuple[float, float]], name: str) -> str:
    told = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline class="{name}" points="{told}"/>'


def _segment(x1: float, y1: float, x2: float, y2: float, name: str) -> str:
    return f'<line class="{name}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _dot(x: float, y: float, beyond: bool, size: float) -> str:
    if beyond:
        side = f"{2 * size:.1f}"
        return f'<rect class="beyond" x="{x - size:.1f}" y="{y - size:.1f}" width="{side}" height="{side}"/>'
    return f'<circle class="within" cx="{x:.1f}" cy="{y:.1f}" r="{size - 0.6:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, name: str = "tick") -> str:
    return f'<text class="{name}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(width: int, height: int, name: str, told: str, parts: Sequence[str]) -> Markup:
    """All words that go in are escaped: here, and in _text."""
    text = escape(told)
    head = f'<svg class="{name}" viewBox="0 0 {width} {height}" role="img" aria-label="{text}"><title>{text}</title>'
    return Markup(f"{head}{''.join(parts)}</svg>")  # noqa: S704
