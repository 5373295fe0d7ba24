"""Queued jobs in piles, by who has deferred them, so that a daemon passes over all that it cannot serve at once; and
an index for the jobs of one verdict.

Revision: 0004, after 0003
"""

from __future__ import annotations

import hashlib
from collections import defaultdict

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("job", sa.Column("pile", sa.String(length=32), nullable=False, server_default=""))
    _pile_up()
    is_queued = sa.text("state = 'queued'")
    op.drop_index("ix_job_next", "job")
    by_priority: list[str | sa.TextClause] = ["state", "pile", sa.text("priority DESC"), "created_at", "id"]
    op.create_index("ix_job_next", "job", by_priority, sqlite_where=is_queued, postgresql_where=is_queued)
    by_age = ["state", "pile", "created_at", "id"]
    op.create_index("ix_job_oldest", "job", by_age, sqlite_where=is_queued, postgresql_where=is_queued)
    is_judged = sa.text("verdict IS NOT NULL")
    by_verdict = ["verdict", "created_at", "id"]
    op.create_index("ix_job_verdict", "job", by_verdict, sqlite_where=is_judged, postgresql_where=is_judged)


def _pile_up() -> None:
    """What `deferral` says so far, under the names that `daemon.db.piles` gives."""
    connection = op.get_bind()
    owners: dict[str, list[str]] = defaultdict(list)
    for job_id, owner in connection.execute(sa.text("SELECT job_id, owner FROM deferral")):
        owners[job_id].append(owner)
    values = [{"job_id": job_id, "pile": _name_of(found)} for job_id, found in owners.items()]
    if values:
        connection.execute(sa.text("UPDATE job SET pile = :pile WHERE id = :job_id"), values)


def _name_of(owners: list[str]) -> str:
    return hashlib.sha256(" ".join(sorted(owners)).encode()).hexdigest()[:32]
