"""Engines for both databases: how a connection is opened, and what it is told before anybody uses it.

Theory of operation
-------------------
SQLite runs in WAL mode with synchronous FULL: readers never wait, one writer at a time, an acknowledged commit
survives a power cut. The driver's own transaction handling is switched off and this module says BEGIN itself: `BEGIN`
(deferred) for a read, which then sees one state of the database, and `BEGIN IMMEDIATE` for a write. A write that
began deferred and wanted the lock only later would fail at once when another writer was faster, whatever the timeout;
one that begins immediate waits its turn.

Postgres runs in READ COMMITTED. Each connection carries timeouts, so that neither a dead server nor a forgotten
transaction stops a daemon, and is tried before use. After any operational error the connection is dropped by the
pool.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event

from daemon.db import sqlfunctions
from daemon.errors import OperatorError

BUSY_TIMEOUT_MS = 10_000
CONNECT_TIMEOUT_S = 10
STATEMENT_TIMEOUT_MS = 60_000
LOCK_TIMEOUT_MS = 20_000
IDLE_IN_TRANSACTION_TIMEOUT_MS = 60_000
SILENCE_TIMEOUT_S = 10 + STATEMENT_TIMEOUT_MS / 1000  # of a server that keeps none of its own limits
_LOG_BYTES = 64 << 20
_AGAIN_S = 0.01  # to put a database into another mode
_PRIMARY = 0xFF  # of SQLite's codes; what stands above it says more
LIMITS_MS = {
    "statement_timeout": STATEMENT_TIMEOUT_MS,
    "lock_timeout": LOCK_TIMEOUT_MS,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
}
_WRITE = "evald_write"  # what tells a transaction that it writes
# If all packets are lost, give up after about a minute, not after TCP's quarter of an hour.
_TCP_LIMITS = {
    "keepalives": 1,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 45_000,
}


def opened(url: URL) -> Engine:
    """An engine for `url`, which is `connection.normalised`."""
    return _for_sqlite(url) if url.get_backend_name() == "sqlite" else _for_postgres(url)


def for_writing(engine: Engine) -> Engine:
    """The same, with transactions that write."""
    return engine.execution_options(**{_WRITE: True})


def _for_sqlite(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _for_postgres(url: URL) -> Engine:
    """What `url` says of a limit counts."""
    options = " ".join(f"-c {key}={value}" for key, value in {**LIMITS_MS, "TimeZone": "UTC"}.items())
    defaults = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "evald", **_TCP_LIMITS}
    connect_args: dict[str, Any] = {key: url.query.get(key, value) for key, value in defaults.items()}
    given = url.query.get("options")
    connect_args["options"] = f"{options} {given}" if given else options
    engine = create_engine(url, connect_args=connect_args, pool_pre_ping=True, isolation_level="READ COMMITTED")
    from daemon.db import postgres

    postgres.limit_waiting(engine, SILENCE_TIMEOUT_S)
    event.listen(engine, "connect", _require_unicode, insert=True)  # before SQLAlchemy asks its first questions
    return engine


def _require_unicode(connection: Any, _record: object) -> None:
    """Raises `OperatorError` for another encoding: names and messages are any text, and Postgres keeps some of it as
    jsonb, which other encodings cannot hold."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise OperatorError(
            f"the database {connection.info.dbname} has the encoding {encoding}, and evald needs UTF8",
            hint=f"CREATE DATABASE {connection.info.dbname}_utf8 ENCODING 'UTF8' TEMPLATE template0",
        )


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # no BEGIN by the driver: `_begin_sqlite` says it
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    _write_ahead(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute("PRAGMA cache_size = -16384")  # KiB
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")  # what a reader made grow is given back
    sqlfunctions.install(connection)


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Put a new database into WAL mode.

    If another process does so at this moment, SQLite answers "locked" at once, and does not wait as elsewhere. That
    happens when a daemon starts while somebody asks for its status. So it is tried again here.
    """
    patient_until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or time.monotonic() > patient_until:
                raise
            time.sleep(_AGAIN_S)
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    write = connection.get_execution_options().get(_WRITE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def sqlite_driver(connection: Connection) -> sqlite3.Connection:
    """The connection of the standard library."""
    driver = connection.connection.driver_connection
    if not isinstance(driver, sqlite3.Connection):
        raise TypeError(f"not a SQLite connection: {driver!r}")
    return driver
