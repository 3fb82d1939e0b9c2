"""Revisions replace the single version number of 0.1.0.

A monitor of 0.1.0 makes its table again when it is started on this database, and works.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_table("store_version", if_exists=True)


def downgrade() -> None:
    op.drop_table("store_version", if_exists=True)
    made = op.create_table("store_version", sa.Column("version", sa.Integer, primary_key=True))
    op.bulk_insert(made, [{"version": 1}])
