"""Copy all that one database holds into a new one: from SQLite to Postgres, say, with the whole history.

Theory of operation: one transaction reads, one writes. So the copy is one state of the original, and holds all of it or
nothing. It keeps every id, also that of the database itself: to an inbox it is the same database, and what is being
judged or waits in `work/` goes on where it was. Nobody may use the original during the copy or afterwards, or the two
would each judge what waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, func, insert, select

from daemon.db import migrate, revision
from daemon.db.connection import Database
from daemon.db.errors import translated
from daemon.db.models import Base, Property
from daemon.errors import OperatorError

_ROWS = 500
_PROPERTIES = Property.__tablename__


def copy(url: str, new_url: str) -> dict[str, int]:
    """Copy everything from `url` to `new_url`, whose tables are made where it has none. Returns how many rows of each
    table.

    Raises `OperatorError` for an original that is missing, outdated or used by a daemon, and for a new one that holds
    anything already; `StorageUnavailable`, `StorageRefused`.
    """
    original, new = Database(url, must_exist=True), Database(new_url)
    try:
        revision.require_current(original)
        migrate.ensure_ready(new_url)
        with original.read() as reading, new.write() as writing:
            _stand_still(reading)
            _require_empty(writing, new.name)
            if _properties(reading) == _properties(writing):
                hint = "name the old one: evald db copy --database sqlite:////PATH/state/evald.sqlite3 URL"
                raise OperatorError(f"{new.name} is the very database that the settings name", hint=hint)
            migrate.require_nobody_there(reading, original.name)
            writing.execute(delete(Property))  # the new one's own id
            return {
                table.name: _copied(_batches(reading, table, original.name), table, writing)
                for table in Base.metadata.sorted_tables
            }
    finally:
        original.close()
        new.close()


def _stand_still(connection: Connection) -> None:
    """Have all reads see one moment. By default Postgres sees another one for each statement."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def _require_empty(connection: Connection, name: str) -> None:
    for table in Base.metadata.sorted_tables:
        if table.name != _PROPERTIES and connection.execute(select(table).limit(1)).first() is not None:
            raise OperatorError(f"database {name} is in use: its table {table.name} has rows", hint="name an empty one")


def _properties(connection: Connection) -> set[tuple[Any, ...]]:
    return set(map(tuple, connection.execute(select(Property.name, Property.value))))


def _batches(connection: Connection, table: Table, name: str) -> Iterator[Sequence[Any]]:
    with translated(name):
        yield from connection.execute(select(table).execution_options(yield_per=_ROWS)).mappings().partitions()


def _copied(batches: Iterator[Sequence[Any]], table: Table, connection: Connection) -> int:
    count = 0
    for rows in batches:
        connection.execute(insert(table), [dict(row) for row in rows])
        count += len(rows)
    if (numbered := table.autoincrement_column) is not None and connection.dialect.name == "postgresql" and count:
        # Postgres numbers new rows from its sequence, which copied rows do not move.
        sequence = func.pg_get_serial_sequence(table.name, numbered.name)
        connection.execute(select(func.setval(sequence, select(func.max(numbered)).scalar_subquery())))
    return count
