"""Letting go of what is old, a little at a time, so that nobody waits for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from pipelines.predictions.store import schema
from pipelines.predictions.store.rows import Expired
from pipelines.predictions.store.statements import chunks

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Table

    from pipelines.predictions.store.database import Database

CHUNK_ROWS = 5000
FREED_PAGES = 2000


def expire(database: Database, usecase: str, before: datetime, labels_before: datetime, most_rows: int) -> Expired:
    """Delete a use case's predictions made before, with their labels, and labels without a prediction that are older.

    One transaction a chunk; ends after about `most_rows` rows, and says whether that was all.
    """
    predictions = _in_chunks(database, most_rows, lambda connection: _expire_predictions(connection, usecase, before))
    left = max(CHUNK_ROWS, most_rows - predictions)
    labels = _in_chunks(database, left, lambda connection: _expire_labels(connection, usecase, labels_before))
    old = [
        (schema.key_labels, schema.key_labels.c.received < before),
        (schema.label_conflicts, schema.label_conflicts.c.received < before),
        (schema.losses, schema.losses.c.time < before),
        (schema.assessments, schema.assessments.c.time < before),
    ]
    with database.writing() as connection:
        for table, is_old in old:
            connection.execute(delete(table).where(table.c.usecase == usecase, is_old))
    database.give_back_space(FREED_PAGES)
    return Expired(predictions, labels, is_complete=predictions < most_rows and labels < left)


def _in_chunks(database: Database, most: int, step: Callable[[Connection], int]) -> int:
    gone = 0
    while gone < most:
        with database.writing() as connection:
            deleted = step(connection)
        gone += deleted
        if deleted < CHUNK_ROWS:
            break
    return gone


def _expire_predictions(connection: Connection, usecase: str, before: datetime) -> int:
    table = schema.predictions
    ids = _some(connection, table, table.c.id, [table.c.usecase == usecase, table.c.time < before])
    for part in chunks(ids):
        connection.execute(delete(table).where(table.c.id.in_(part)))
        connection.execute(delete(schema.labels).where(schema.labels.c.prediction_id.in_(part)))
    return len(ids)


def _expire_labels(connection: Connection, usecase: str, before: datetime) -> int:
    """Labels of ids that nobody has predicted by now."""
    label, prediction = schema.labels, schema.predictions
    known = select(prediction.c.id).where(prediction.c.id == label.c.prediction_id).exists()
    conditions = [label.c.usecase == usecase, label.c.received < before, ~known]
    ids = _some(connection, label, label.c.prediction_id, conditions)
    for part in chunks(ids):
        connection.execute(delete(label).where(label.c.prediction_id.in_(part)))
    return len(ids)


def _some(
    connection: Connection, table: Table, key: ColumnElement[str], conditions: list[ColumnElement[bool]]
) -> list[str]:
    return list(connection.scalars(select(key).select_from(table).where(*conditions).limit(CHUNK_ROWS)))
