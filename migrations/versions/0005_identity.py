"""An id for the database itself, so that a home can say which one it belongs to.

Revision: 0005, after 0004
"""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    table = op.create_table(
        "property",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_property")),
    )
    op.bulk_insert(table, [{"name": "id", "value": uuid.uuid4().hex}])
