"""Which revision of the schema a database has, asked cheaply: without alembic, which takes longer to import than a
query.

`REVISION` is the one this code was written for; a test holds it equal to the newest file in `migrations/versions`.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect

from daemon.db.connection import Database
from daemon.errors import OperatorError

REVISION = "0007"
VERSION_TABLE = "alembic_version"


def current(database: Database) -> str | None:
    """The revision of `database`, None when it holds no tables at all.

    Raises `OperatorError` for a database that is somebody else's (tables, but no revision), `StorageUnavailable`.
    """
    with database.read() as connection:
        return revision_of(connection, database.name)


def revision_of(connection: Connection, name: str) -> str | None:
    """As `current`, inside a transaction; `name` is for the message."""
    tables = set(inspect(connection).get_table_names())
    found = None
    if VERSION_TABLE in tables:
        found = connection.exec_driver_sql(f"SELECT version_num FROM {VERSION_TABLE}").scalar()  # noqa: S608
    if found is None and tables - {VERSION_TABLE}:
        raise OperatorError(
            f"database {name} holds tables that are not evald's: {', '.join(sorted(tables - {VERSION_TABLE})[:5])}",
            hint="give evald a database of its own (setting `database`)",
        )
    return None if found is None else str(found)


def require_current(database: Database) -> None:
    """Raise `OperatorError` with the line to type unless `database` has exactly the schema of this code."""
    found = current(database)
    if found == REVISION:
        return
    if found is None:
        raise OperatorError(f"database {database.name} is empty", hint="type: evald db upgrade")
    raise mismatch(database.name, found, outdated=found < REVISION)


def mismatch(name: str, found: str, *, outdated: bool) -> OperatorError:
    """The error about a database at revision `found`. Revisions are numbers with leading zeros and compare as text."""
    if outdated:
        return OperatorError(
            f"database {name} is at schema revision {found}, this evald needs {REVISION}",
            hint="stop every daemon that uses it, make a backup, then type: evald db upgrade",
        )
    return OperatorError(
        f"database {name} is at schema revision {found}, newer than this evald knows ({REVISION})",
        hint="install the evald that upgraded it, or a later one; there is no downgrade",
    )
