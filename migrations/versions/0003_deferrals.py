"""Jobs that a daemon cannot serve, and the devices of the daemons.

Revision: 0003, after 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
UTC_TIME = sa.DateTime(timezone=True)
OUTCOMES = "outcome IN ('published', 'retried', 'broken', 'expired', 'withdrawn')"
OUTCOMES_NOW = "outcome IN ('published', 'retried', 'broken', 'expired', 'withdrawn', 'deferred')"


def upgrade() -> None:
    op.add_column("daemon", sa.Column("devices", JSON))
    op.create_table(
        "deferral",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", UTC_TIME, nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_deferral_job_id_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "owner", name=op.f("pk_deferral")),
    )
    op.create_index("ix_deferral_owner", "deferral", ["owner"])
    with op.batch_alter_table("attempt", copy_from=_attempt()) as attempt:
        attempt.drop_constraint(op.f("ck_attempt_outcome"), type_="check")
        attempt.create_check_constraint(op.f("ck_attempt_outcome"), OUTCOMES_NOW)


def _attempt() -> sa.Table:
    """The table as 0001 made it: SQLite changes a constraint by copying the rows into another table."""
    return sa.Table(
        "attempt",
        sa.MetaData(),
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("fence", ROW_ID, nullable=False),
        sa.Column("number", sa.Integer()),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("leased_at", UTC_TIME, nullable=False),
        sa.Column("ended_at", UTC_TIME),
        sa.Column("outcome", sa.String(length=24)),
        sa.Column("reason", sa.Text()),
        sa.CheckConstraint("(outcome IS NULL) = (ended_at IS NULL)", name=op.f("ck_attempt_outcome_when_ended")),
        sa.CheckConstraint(OUTCOMES, name=op.f("ck_attempt_outcome")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_attempt_job_id_job"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempt")),
        sa.UniqueConstraint("job_id", "fence", name=op.f("uq_attempt_job_id_fence")),
        sa.UniqueConstraint("job_id", "number", name=op.f("uq_attempt_job_id_number")),
    )
