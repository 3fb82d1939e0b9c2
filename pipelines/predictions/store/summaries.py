"""Assessments of many use cases at a glance: the newest of each, and how they came there.

A monitor of 50 use cases writes some 60,000 assessments a day. What is read here hangs on how many use cases there
are, not on how long they have been watched: each question is one statement that seeks its rows in an index.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import Integer, String, Text, bindparam, cast, func, select, true, values
from sqlalchemy import column as named
from sqlalchemy.dialects.postgresql import JSONB

from pipelines.predictions.store.schema import Moment, assessments, predictions

if TYPE_CHECKING:
    from sqlalchemy import CTE, Column, ColumnElement, Connection, ScalarSelect

Place = tuple[str, str]
KINDS = ("inputs", "predictions", "quality", "labels")


def read_newest(connection: Connection, places: Sequence[Place]) -> list[dict[str, Any]]:
    """The newest assessment of each kind."""
    asked = _asked(connection, places, KINDS)
    return _read(connection, select(_newest(assessments.c.id, asked).label("id")).select_from(asked).cte("picked"))


def read_first(connection: Connection, places: Sequence[Place], since: datetime) -> datetime | None:
    """When the first of them was made, of those that are not older than `since`."""
    asked, time = _asked(connection, places, KINDS), assessments.c.time
    first = select(func.min(time)).where(*_of(asked), time >= since).scalar_subquery().correlate(asked)
    firsts = select(first.label("time")).select_from(asked).cte("firsts")
    found: datetime | None = connection.execute(select(func.min(firsts.c.time))).scalar()
    return found


def read_values(
    connection: Connection, places: Sequence[Place], kinds: Sequence[str], moments: Sequence[datetime]
) -> dict[tuple[str, str, str], list[float | None]]:
    """Of each kind the last value after each moment and not after the next one; None where there is none."""
    asked, steps = _asked(connection, places, kinds), _steps(moments)
    value = _newest(assessments.c.value, asked, steps)
    query = select(asked.c.usecase, asked.c.environment, asked.c.kind, steps.c.step, value)
    found: dict[tuple[str, str, str], list[float | None]] = {}
    for usecase, environment, kind, step, last in connection.execute(query.select_from(asked.join(steps, true()))):
        found.setdefault((usecase, environment, kind), [None] * (len(moments) - 1))[step] = last
    return found


def read_trend(connection: Connection, place: Place, moments: Sequence[datetime]) -> list[dict[str, Any]]:
    """Of each kind the newest assessment after each moment and not after the next one, by time."""
    asked, steps = _asked(connection, [place], KINDS), _steps(moments)
    picked = select(_newest(assessments.c.id, asked, steps).label("id")).select_from(asked.join(steps, true()))
    return sorted(_read(connection, picked.cte("picked")), key=lambda row: row["time"])


def read_last_predicted(connection: Connection, places: Sequence[Place]) -> dict[Place, datetime]:
    """When each model answered last, as far as it was recorded."""
    asked, table = _asked(connection, places, KINDS[:1]), predictions.c
    same = (table.usecase == asked.c.usecase, table.environment == asked.c.environment)
    last = select(func.max(table.time)).where(*same).scalar_subquery().correlate(asked)
    query = select(asked.c.usecase, asked.c.environment, last).select_from(asked)
    return {(usecase, place): time for usecase, place, time in connection.execute(query) if time is not None}


def _newest(column: Column[Any], asked: CTE, steps: CTE | None = None) -> ScalarSelect[Any]:
    time = assessments.c.time
    query = select(column).where(*_of(asked)).order_by(time.desc()).limit(1)
    if steps is None:
        return query.scalar_subquery().correlate(asked)
    return query.where(time > steps.c.after, time <= steps.c.until).scalar_subquery().correlate(asked, steps)


def _of(asked: CTE) -> tuple[ColumnElement[bool], ...]:
    table = assessments.c
    return table.usecase == asked.c.usecase, table.environment == asked.c.environment, table.kind == asked.c.kind


def _asked(connection: Connection, places: Sequence[Place], kinds: Sequence[str]) -> CTE:
    """Every kind of every place as a table. One parameter, so that SQLAlchemy compiles the statement only once."""
    rows = bindparam("rows", orjson.dumps([(*place, kind) for place in places for kind in kinds]).decode(), Text)
    if connection.dialect.name == "sqlite":
        row = func.json_each(rows).table_valued("value", name="row")
        parts = [func.json_extract(row.c.value, f"$[{number}]", type_=String) for number in range(3)]
    else:
        row = func.jsonb_array_elements(cast(rows, JSONB)).table_valued(named("value", JSONB), name="row")
        parts = [row.c.value[number].astext for number in range(3)]
    columns = [part.label(name) for part, name in zip(parts, ("usecase", "environment", "kind"), strict=True)]
    return select(*columns).select_from(row).cte("asked")


def _steps(moments: Sequence[datetime]) -> CTE:
    columns = (named("step", Integer), named("after", Moment), named("until", Moment))
    rows = [(number, *span) for number, span in enumerate(pairwise(moments))]
    return values(*columns, name="spans").data(rows).cte("steps")


def _read(connection: Connection, picked: CTE) -> list[dict[str, Any]]:
    query = select(assessments).join(picked, picked.c.id == assessments.c.id)
    return [dict(row._mapping) for row in connection.execute(query)]
