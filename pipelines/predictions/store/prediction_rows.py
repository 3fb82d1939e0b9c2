"""Writing predictions: idempotent by id, in one transaction with what was lost of the same batch."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from pipelines.predictions.store import schema
from pipelines.predictions.store.label_rows import save_conflicts
from pipelines.predictions.store.rows import Kept, LabelRow, Loss, Origin, PredictionRow, sample_of
from pipelines.predictions.store.statements import chunks, insert_new, insert_or_replace

if TYPE_CHECKING:
    from sqlalchemy import Connection

ROWS_A_STATEMENT = 2000


def save_predictions(
    connection: Connection, origin: Origin, rows: Sequence[PredictionRow], losses: Sequence[Loss], now: datetime
) -> Kept:
    """Store what is new, and give the predictions whose true value has come before them its label."""
    shared = {
        "usecase": origin.usecase,
        "environment": origin.environment,
        "bento": origin.bento,
        "model": origin.model,
        "commit": origin.commit,
        "run": origin.run,
        "received": now,
    }
    # In one order everywhere: two writers of the same rows would else wait for each other for ever.
    ordered = sorted(rows, key=lambda row: row.id)
    stored = 0
    for part in chunks(ordered, ROWS_A_STATEMENT):
        stored += insert_new(connection, schema.predictions, [{**shared, **_values(row)} for row in part])
    save_losses(connection, origin.usecase, origin.environment, losses, now)
    seen = {"bento": origin.bento, "usecase": origin.usecase, "signature": origin.signature, "last_seen": now}
    insert_or_replace(connection, schema.bentos, seen)
    labelled = _label_by_key(connection, origin.usecase, ordered, now)
    return Kept(stored=stored, duplicates=len(rows) - stored, labelled=labelled)


def save_losses(connection: Connection, usecase: str, environment: str, losses: Sequence[Loss], now: datetime) -> None:
    """Count what could not be kept."""
    shared = {"usecase": usecase, "environment": environment, "time": now}
    rows = [{**shared, "id": loss.id, "reason": loss.reason, "count": loss.count} for loss in losses]
    insert_new(connection, schema.losses, rows)


def _values(row: PredictionRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "time": row.time,
        "inputs": row.inputs,
        "output": row.output,
        "label": row.label,
        "confidence": row.confidence,
        "value": row.value,
        "join_key": row.join_key,
        "sample": sample_of(row.id),
    }


def _label_by_key(connection: Connection, usecase: str, rows: Sequence[PredictionRow], now: datetime) -> int:
    """Labels that were here before their predictions. One by id that came after the one by key gives way to it."""
    waiting: dict[str, Any] = {}
    table = schema.key_labels
    for part in chunks(sorted({row.join_key for row in rows if row.join_key is not None})):
        found = select(table).where(table.c.usecase == usecase, table.c.join_key.in_(part))
        waiting |= {row.join_key: row for row in connection.execute(found)}
    labels = [
        {
            "prediction_id": row.id,
            "usecase": usecase,
            "value": waiting[row.join_key].value,
            "observed_at": waiting[row.join_key].observed_at,
            "received": now,
            "source": waiting[row.join_key].source,
        }
        for row in rows
        if row.join_key in waiting
    ]
    _let_the_first_stay(connection, {row.id: waiting[row.join_key] for row in rows if row.join_key in waiting}, now)
    return insert_new(connection, schema.labels, labels)


def _let_the_first_stay(connection: Connection, by_key: dict[str, Any], now: datetime) -> None:
    """Had the prediction been there, the label by key would have been its own before the one by id came.

    `by_key`: of a prediction's id, the row of its key's label.
    """
    table = schema.labels
    for part in chunks(sorted(by_key)):
        known = connection.execute(select(table).where(table.c.prediction_id.in_(part))).all()
        for label in known:
            first = by_key[label.prediction_id]
            values = {"value": first.value, "observed_at": first.observed_at, "source": first.source}
            if label.received <= first.received or values == {name: getattr(label, name) for name in values}:
                continue
            change = update(table).where(table.c.prediction_id == label.prediction_id)
            connection.execute(change.values(received=first.received, **values))
            refused = LabelRow(label.prediction_id, label.usecase, label.value, label.observed_at)
            save_conflicts(connection, [(refused, first.value)], "prediction_id", label.source, now)
