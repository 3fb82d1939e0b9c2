"""The tables of triggers. Two unique indexes hold what must never happen, whatever the code does:

one_run_at_a_time       of a use case, at most one trigger is running
one_waits               of a use case and environment, at most one trigger is pending; others join it

They are made, and changed, with the tables of predictions: `pipelines/predictions/store/migrations`, docs/store.md.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, MetaData, String, Table, Text

from pipelines.predictions.store.schema import Moment
from pipelines.retraining.triggers import PENDING

metadata = MetaData()
triggers = Table(
    "triggers",
    metadata,
    Column("id", String(120), primary_key=True),
    Column("usecase", String(40), nullable=False),
    Column("environment", String(40), nullable=False),
    Column("reason", String(20), nullable=False),
    Column("evidence", Text, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("forced", Boolean, nullable=False),
    Column("requested_at", Moment, nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt", Moment, nullable=False),
    Column("joined", Integer, nullable=False),
    Column("run_id", String(120)),
    Column("owner", Text),
    Column("heartbeat", Moment),
    Column("started_at", Moment),
    Column("ended_at", Moment),
    Column("note", Text),
)
# What a pending trigger stands for; a cause that is gone is taken out again.
causes = Table(
    "trigger_causes",
    metadata,
    Column("trigger", String(120), primary_key=True),
    Column("fingerprint", String(200), primary_key=True),
)
# How far a schedule or a data source has been seen.
marks = Table(
    "trigger_marks",
    metadata,
    Column("usecase", String(40), primary_key=True),
    Column("environment", String(40), primary_key=True),
    Column("kind", String(20), primary_key=True),
    Column("value", Text, nullable=False),
)
is_running = triggers.c.state == "running"
is_pending = triggers.c.state.in_(PENDING)
Index("one_run_at_a_time", triggers.c.usecase, unique=True, sqlite_where=is_running, postgresql_where=is_running)
Index(
    "one_waits",
    triggers.c.usecase,
    triggers.c.environment,
    unique=True,
    sqlite_where=is_pending,
    postgresql_where=is_pending,
)
Index("triggers_by_time", triggers.c.usecase, triggers.c.requested_at)
