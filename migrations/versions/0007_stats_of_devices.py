"""Figures by the device that jobs ran on come from the index by when they ended.

Revision: 0007, after 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_NAME = "ix_job_stats_finished_at"
_COLUMNS = ["finished_at", "verdict", "runtime_ms", "speedup", "evaluate_ms", "queue_ms", "environment_id"]


def upgrade() -> None:
    is_finished = sa.text("finished_at IS NOT NULL")
    op.drop_index(_NAME, "job")
    op.create_index(_NAME, "job", _COLUMNS, sqlite_where=is_finished, postgresql_where=is_finished)
