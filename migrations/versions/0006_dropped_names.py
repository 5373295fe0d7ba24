"""An index for the bundles dropped under one name, which their contracts may call otherwise.

Revision: 0006, after 0005
"""

from __future__ import annotations

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_bundle_dropped_name", "bundle", ["dropped_name", "dropped_at", "id"])
