"""The page's templates and its style sheet, read once."""

from __future__ import annotations

import hashlib
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from pipelines.monitor.page import charts, formatting

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
STATIC = HERE / "static"
HASH_LENGTH = 12


def render(template: str, base: str, now: datetime, **values: Any) -> str:
    """`base`: the path below which the monitor answers, where something in front of it has put one."""
    shown = _templates().get_template(template)
    return shown.render(base=base, now=now, style=style_name(), icon=icon_name(), **values)


@cache
def static_files() -> dict[str, bytes]:
    """The files of static/ under names that change with what they hold, so that browsers may keep them for ever."""
    found = {}
    for path in sorted(STATIC.iterdir()):
        content = path.read_bytes()
        mark = hashlib.sha256(content).hexdigest()[:HASH_LENGTH]
        found[f"{path.stem}.{mark}{path.suffix}"] = content
    return found


def style_name() -> str:
    return next(name for name in static_files() if name.endswith(".css"))


def icon_name() -> str:
    return next(name for name in static_files() if name.endswith(".svg"))


@cache
def _templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "figure": formatting.figure,
        "limit": formatting.limit,
        "share": formatting.share,
        "span": formatting.span,
        "moment": formatting.moment,
        "when": _when,
        "iso": lambda time: time.isoformat(timespec="seconds"),
    }
    made.globals |= {
        "formatting": formatting,
        "sparkline": charts.sparkline,
        "chart": charts.chart,
        "in_words": charts.in_words,
        "many": formatting.many,
    }
    return made


def _when(time: datetime | None, now: datetime) -> Markup:
    """How long ago, with the time itself in the tooltip and for machines."""
    if time is None:
        return Markup(formatting.NOTHING)  # noqa: S704 - a constant
    told = Markup('<time datetime="{}" title="{} UTC">{}</time>')
    return told.format(time.isoformat(timespec="seconds"), formatting.moment(time), formatting.age(time, now))
