"""Text and numbers as Markdown, so that what a user wrote can neither break a table nor become markup."""

import math
import re
from collections.abc import Collection, Iterable

SPECIAL = re.compile(r"([\\`*\[\]<>|~$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])|&(?=#?\w+;)|^[-+=#](?=[ =+-]|$))")
NUMBERED = re.compile(r"^(\d+)([.)])(?= |$)")


class Markdown(str):
    """Text that is Markdown already and is not escaped again."""

    __slots__ = ()


def escape(text: object) -> str:
    """The text in one line, which shows exactly its characters."""
    line = SPECIAL.sub(r"\\\1", " ".join(str(text).split()))
    return NUMBERED.sub(r"\1\\\2", line)


def number(value: float | None) -> str:
    """Four significant digits, whole above 10,000; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.4g}"


def table(header: Iterable[str], rows: Iterable[Iterable[str]], numbers: Collection[str] = ()) -> Markdown:
    """A table of cells that are Markdown already; the columns with these titles are numbers and stand to the right."""
    titles = list(header)
    rules = ["---:" if title in numbers else "---" for title in titles]
    lines = [titles, rules, *[list(row) for row in rows]]
    return Markdown("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
