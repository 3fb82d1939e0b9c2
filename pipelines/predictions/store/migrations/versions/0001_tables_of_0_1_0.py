"""The tables of 0.1.0.

In a database that 0.1.0 made, they are there already, but for those of triggers where no monitor ever ran.
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
JSON = sa.Text().with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    _table("store_version", sa.Column("version", sa.Integer, primary_key=True))
    _predictions()
    _labels()
    _assessments()
    _triggers()


def downgrade() -> None:
    raise NotImplementedError("0001 is the first revision")


def _predictions() -> None:
    _table(
        "predictions",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("usecase", sa.String, nullable=False),
        sa.Column("environment", sa.String, nullable=False),
        sa.Column("bento", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("commit", sa.String),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("time", MOMENT, nullable=False),
        sa.Column("inputs", JSON),
        sa.Column("output", JSON),
        sa.Column("label", sa.Text),
        sa.Column("confidence", sa.Float),
        sa.Column("value", sa.Float),
        sa.Column("join_key", sa.Text),
        sa.Column("received", MOMENT, nullable=False),
        sa.Column("sample", sa.BigInteger, nullable=False),
    )
    _index("predictions_by_time", "predictions", ["usecase", "environment", "time", "bento", "sample"])
    _index("predictions_by_key", "predictions", ["usecase", "join_key"])
    _table(
        "losses",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("usecase", sa.String, nullable=False),
        sa.Column("environment", sa.String, nullable=False),
        sa.Column("time", MOMENT, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("count", sa.Integer, nullable=False),
    )
    _index("losses_by_usecase", "losses", ["usecase", "environment", "time"])
    _table(
        "bentos",
        sa.Column("bento", sa.String, primary_key=True),
        sa.Column("usecase", sa.String, nullable=False),
        sa.Column("signature", JSON),
        sa.Column("last_seen", MOMENT, nullable=False),
    )


def _labels() -> None:
    _table(
        "labels",
        sa.Column("prediction_id", sa.String, primary_key=True),
        sa.Column("usecase", sa.String, nullable=False),
        sa.Column("value", JSON),
        sa.Column("observed_at", MOMENT, nullable=False),
        sa.Column("received", MOMENT, nullable=False),
        sa.Column("source", sa.String, nullable=False),
    )
    _index("labels_by_received", "labels", ["usecase", "received"])
    _table(
        "key_labels",
        sa.Column("usecase", sa.String, primary_key=True),
        sa.Column("join_key", sa.Text, primary_key=True),
        sa.Column("value", JSON),
        sa.Column("observed_at", MOMENT, nullable=False),
        sa.Column("received", MOMENT, nullable=False),
        sa.Column("source", sa.String, nullable=False),
    )
    _table(
        "label_conflicts",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("usecase", sa.String, nullable=False),
        sa.Column("prediction_id", sa.String),
        sa.Column("join_key", sa.Text),
        sa.Column("kept", JSON),
        sa.Column("refused", JSON),
        sa.Column("observed_at", MOMENT, nullable=False),
        sa.Column("received", MOMENT, nullable=False),
        sa.Column("source", sa.String, nullable=False),
    )
    _index("label_conflicts_by_usecase", "label_conflicts", ["usecase", "received"])


def _assessments() -> None:
    _table(
        "assessments",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("usecase", sa.String, nullable=False),
        sa.Column("environment", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("time", MOMENT, nullable=False),
        sa.Column("window_start", MOMENT, nullable=False),
        sa.Column("window_end", MOMENT, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("summary", sa.Text, nullable=False),
        sa.Column("value", sa.Float),
        sa.Column("threshold", sa.Float),
        sa.Column("detail", JSON),
        sa.Column("report_path", sa.Text),
        sa.Column("bento", sa.String, nullable=False),
    )
    _index("assessments_by_time", "assessments", ["usecase", "environment", "kind", "time"])


def _triggers() -> None:
    _table(
        "triggers",
        sa.Column("id", sa.String(120), primary_key=True),
        sa.Column("usecase", sa.String(40), nullable=False),
        sa.Column("environment", sa.String(40), nullable=False),
        sa.Column("reason", sa.String(20), nullable=False),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("forced", sa.Boolean, nullable=False),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("next_attempt", MOMENT, nullable=False),
        sa.Column("joined", sa.Integer, nullable=False),
        sa.Column("run_id", sa.String(120)),
        sa.Column("owner", sa.Text),
        sa.Column("heartbeat", MOMENT),
        sa.Column("started_at", MOMENT),
        sa.Column("ended_at", MOMENT),
        sa.Column("note", sa.Text),
    )
    _unique("one_run_at_a_time", ["usecase"], "state = 'running'")
    _unique("one_waits", ["usecase", "environment"], "state IN ('waiting', 'cooling')")
    _index("triggers_by_time", "triggers", ["usecase", "requested_at"])
    _table(
        "trigger_causes",
        sa.Column("trigger", sa.String(120), primary_key=True),
        sa.Column("fingerprint", sa.String(200), primary_key=True),
    )
    _table(
        "trigger_marks",
        sa.Column("usecase", sa.String(40), primary_key=True),
        sa.Column("environment", sa.String(40), primary_key=True),
        sa.Column("kind", sa.String(20), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )


def _table(name: str, *columns: Any) -> None:
    op.create_table(name, *columns, if_not_exists=True)


def _index(name: str, table: str, columns: list[str]) -> None:
    op.create_index(name, table, columns, if_not_exists=True)


def _unique(name: str, columns: list[str], where: str) -> None:
    only = sa.text(where)
    op.create_index(
        name, "triggers", columns, unique=True, sqlite_where=only, postgresql_where=only, if_not_exists=True
    )
