"""Writing true values, by prediction id or by join key: idempotent; of contradicting ones the first stays."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import select

from pipelines.predictions.store import schema
from pipelines.predictions.store.rows import Labelled, LabelRow
from pipelines.predictions.store.statements import chunks, insert_new

if TYPE_CHECKING:
    from sqlalchemy import Connection


def save_labels(connection: Connection, rows: Sequence[LabelRow], source: str, now: datetime) -> Labelled:
    """True values by prediction id. Those of unknown predictions are kept for when they come."""
    table, names = schema.labels, [row.name for row in rows]
    known: dict[str, Any] = {}
    predicted: set[str] = set()
    for part in chunks(names):
        found = select(table.c.prediction_id, table.c.value).where(table.c.prediction_id.in_(part))
        known |= {row.prediction_id: row.value for row in connection.execute(found)}
        ids = select(schema.predictions.c.id).where(schema.predictions.c.id.in_(part))
        predicted |= set(connection.scalars(ids))
    sorted_out = _sort_out(rows, known)
    new = [
        {
            "prediction_id": row.name,
            "usecase": row.usecase,
            "value": row.value,
            "observed_at": row.observed_at,
            "received": now,
            "source": source,
        }
        for row in sorted_out.new
    ]
    insert_new(connection, table, new)
    save_conflicts(connection, sorted_out.contradicting, "prediction_id", source, now)
    pending = [row.name for row in sorted_out.new if row.name not in predicted]
    return Labelled(
        accepted=len(new),
        duplicates=sorted_out.duplicates,
        matched=len(new) - len(pending),
        contradicting=[row.name for row, _ in sorted_out.contradicting],
        pending=pending,
    )


def save_key_labels(connection: Connection, rows: Sequence[LabelRow], source: str, now: datetime) -> Labelled:
    """True values by join key, of one use case: every prediction with that key gets it, those to come as well."""
    if not rows:
        return Labelled()
    table, usecase = schema.key_labels, rows[0].usecase
    known: dict[str, Any] = {}
    for part in chunks([row.name for row in rows]):
        found = select(table.c.join_key, table.c.value).where(table.c.usecase == usecase, table.c.join_key.in_(part))
        known |= {row.join_key: row.value for row in connection.execute(found)}
    sorted_out = _sort_out(rows, known)
    shared = {"usecase": usecase, "received": now, "source": source}
    values = [
        {**shared, "join_key": row.name, "value": row.value, "observed_at": row.observed_at} for row in sorted_out.new
    ]
    insert_new(connection, table, values)
    matched, keys = _label_predictions(connection, usecase, sorted_out.new, source, now)
    save_conflicts(connection, sorted_out.contradicting, "join_key", source, now)
    return Labelled(
        accepted=len(values),
        duplicates=sorted_out.duplicates,
        matched=matched,
        contradicting=[row.name for row, _ in sorted_out.contradicting],
        pending=[row.name for row in sorted_out.new if row.name not in keys],
    )


class _SortedOut:
    """A batch against what is known: new ones, repeated ones, and ones with another value than before."""

    def __init__(self) -> None:
        self.new: list[LabelRow] = []
        self.duplicates = 0
        self.contradicting: list[tuple[LabelRow, Any]] = []


def _sort_out(rows: Sequence[LabelRow], known: dict[str, Any]) -> _SortedOut:
    values, found = dict(known), _SortedOut()
    for row in rows:
        if row.name not in values:
            values[row.name] = row.value
            found.new.append(row)
        elif same_value(values[row.name], row.value):
            found.duplicates += 1
        else:
            found.contradicting.append((row, values[row.name]))
    found.new.sort(key=lambda row: row.name)
    return found


def same_value(one: Any, other: Any) -> bool:
    """JSON values: true is not 1, and 1 is 1.0."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _label_predictions(
    connection: Connection, usecase: str, rows: Sequence[LabelRow], source: str, now: datetime
) -> tuple[int, set[str]]:
    """How many predictions got their label, and the keys that were found."""
    table, by_key = schema.predictions, {row.name: row for row in rows}
    matched, keys = 0, set()
    for part in chunks(sorted(by_key)):
        found = select(table.c.id, table.c.join_key).where(table.c.usecase == usecase, table.c.join_key.in_(part))
        pairs = sorted((row.id, row.join_key) for row in connection.execute(found))
        labels = [
            {
                "prediction_id": prediction,
                "usecase": usecase,
                "value": by_key[key].value,
                "observed_at": by_key[key].observed_at,
                "received": now,
                "source": source,
            }
            for prediction, key in pairs
        ]
        matched += insert_new(connection, schema.labels, labels)
        keys |= {key for _, key in pairs}
    return matched, keys


def save_conflicts(
    connection: Connection, pairs: Sequence[tuple[LabelRow, Any]], name: str, source: str, now: datetime
) -> None:
    """Keep the values that were refused, each with the one that stays; `name`: the column that `LabelRow.name` is."""
    rows = [
        {
            "id": _conflict_id(name, row),
            "usecase": row.usecase,
            name: row.name,
            "kept": kept,
            "refused": row.value,
            "observed_at": row.observed_at,
            "received": now,
            "source": source,
        }
        for row, kept in pairs
        if not same_value(kept, row.value)
    ]
    insert_new(connection, schema.label_conflicts, rows)


def _conflict_id(kind: str, row: LabelRow) -> str:
    """The same contradiction again is no new one."""
    told = orjson.dumps([kind, row.usecase, row.name, row.value])
    return hashlib.blake2b(told, digest_size=16).hexdigest()
