"""What evaluations found, one row each; see pipelines.assessment.assess."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from pipelines.predictions.store import schema
from pipelines.predictions.store.statements import insert_new

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from pipelines.documents import Value


def save_assessments(connection: Connection, found: Sequence[Value]) -> int:
    """An assessment is told by its id, and never changes."""
    return insert_new(connection, schema.assessments, [document.model_dump() for document in found])


def read_assessments(
    connection: Connection, usecase: str, environment: str, kind: str | None, limit: int
) -> list[dict[str, Any]]:
    table = schema.assessments
    query = select(table).where(table.c.usecase == usecase, table.c.environment == environment)
    if kind is not None:
        query = query.where(table.c.kind == kind)
    return [dict(row._mapping) for row in connection.execute(query.order_by(table.c.time.desc()).limit(limit))]
