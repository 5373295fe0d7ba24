"""What alembic runs: the revisions, on the connection and in the transaction that `daemon.db.migrate` opened."""

from __future__ import annotations

from alembic import context

from daemon.db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
