"""The tables. Times are UTC; JSON is text in SQLite and JSONB in PostgreSQL.

A change here needs a revision in `migrations/`, or a test fails: docs/store.md, "Adding a column".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Dialect,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.dialects.postgresql import JSONB


class Moment(TypeDecorator[datetime]):
    """A time with its zone; SQLite keeps it as UTC without one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        told = value.astimezone(UTC)
        return told.replace(tzinfo=None) if dialect.name == "sqlite" else told

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class JsonText(TypeDecorator[Any]):
    """JSON as text. SQLite's columns of type JSON would make a number of the text 3, and of a long one a wrong one."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:  # noqa: ARG002
        return None if value is None else orjson.dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:  # noqa: ARG002
        return None if value is None else orjson.loads(value)


def json_column(name: str) -> Column[Any]:
    return Column(name, JsonText().with_variant(JSONB(none_as_null=True), "postgresql"))


metadata = MetaData()

predictions = Table(
    "predictions",
    metadata,
    Column("id", String, primary_key=True),
    Column("usecase", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("bento", String, nullable=False),
    Column("model", String, nullable=False),
    Column("commit", String),
    Column("run", String, nullable=False),
    Column("time", Moment, nullable=False),
    json_column("inputs"),
    json_column("output"),
    Column("label", Text),
    Column("confidence", Float),
    Column("value", Float),
    Column("join_key", Text),
    Column("received", Moment, nullable=False),
    Column("sample", BigInteger, nullable=False),  # a hash of the id: the smallest are an even sample
    # Counting and sampling a window read this index alone, not the rows with their inputs.
    Index("predictions_by_time", "usecase", "environment", "time", "bento", "sample"),
    Index("predictions_by_key", "usecase", "join_key"),
)

labels = Table(
    "labels",
    metadata,
    Column("prediction_id", String, primary_key=True),
    Column("usecase", String, nullable=False),
    json_column("value"),
    Column("observed_at", Moment, nullable=False),
    Column("received", Moment, nullable=False),
    Column("source", String, nullable=False),
    Index("labels_by_received", "usecase", "received"),
)

# True values that know a key and no id. They stay, so that a prediction which comes later finds its own.
key_labels = Table(
    "key_labels",
    metadata,
    Column("usecase", String, primary_key=True),
    Column("join_key", Text, primary_key=True),
    json_column("value"),
    Column("observed_at", Moment, nullable=False),
    Column("received", Moment, nullable=False),
    Column("source", String, nullable=False),
)

label_conflicts = Table(
    "label_conflicts",
    metadata,
    Column("id", String, primary_key=True),
    Column("usecase", String, nullable=False),
    Column("prediction_id", String),
    Column("join_key", Text),
    json_column("kept"),
    json_column("refused"),
    Column("observed_at", Moment, nullable=False),
    Column("received", Moment, nullable=False),
    Column("source", String, nullable=False),
    Index("label_conflicts_by_usecase", "usecase", "received"),
)

losses = Table(
    "losses",
    metadata,
    Column("id", String, primary_key=True),
    Column("usecase", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("time", Moment, nullable=False),
    Column("reason", String, nullable=False),
    Column("count", Integer, nullable=False),
    Index("losses_by_usecase", "usecase", "environment", "time"),
)

# What the models that answered take and give, so that nobody needs a Bento to read their predictions.
bentos = Table(
    "bentos",
    metadata,
    Column("bento", String, primary_key=True),
    Column("usecase", String, nullable=False),
    json_column("signature"),
    Column("last_seen", Moment, nullable=False),
)

assessments = Table(
    "assessments",
    metadata,
    Column("id", String, primary_key=True),
    Column("usecase", String, nullable=False),
    Column("environment", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("time", Moment, nullable=False),
    Column("window_start", Moment, nullable=False),
    Column("window_end", Moment, nullable=False),
    Column("status", String, nullable=False),
    Column("summary", Text, nullable=False),
    Column("value", Float),
    Column("threshold", Float),
    json_column("detail"),
    Column("report_path", Text),
    Column("bento", String, nullable=False),
    Index("assessments_by_time", "usecase", "environment", "kind", "time"),
)
