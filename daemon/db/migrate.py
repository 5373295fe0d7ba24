"""Bring a database to the schema of this code. Forward only: the way back is a backup.

Theory of operation
-------------------
The revisions live in the package `daemon.migrations`; no `alembic.ini` is read. All of an upgrade happens in one
transaction that first takes the database for itself (SQLite: BEGIN IMMEDIATE, Postgres: an advisory lock) and only
then reads the revision. So of several daemons that start on an empty database at once, one creates the tables, the
others wait and find them there; and a process that is killed in the middle leaves the schema as it was. Alembic is
imported only where there is something to upgrade: a daemon that finds its schema starts without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import inspect, select

from daemon.db import revision
from daemon.db.connection import Database
from daemon.db.daemon_records import DaemonState
from daemon.db.errors import StorageRefused, past_bad_reads
from daemon.db.models import Daemon
from daemon.db.record_rows import is_silent
from daemon.db.sqlfunctions import now
from daemon.errors import OperatorError

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection


def upgrade(url: str, *, force: bool = False) -> str:
    """Run every revision that `url` lacks, and answer the revision it has now. Safe to run from several processes at
    once.

    Raises `OperatorError` for a database that is newer, or not evald's, or that a daemon with the old schema uses
    (unless `force`); `StorageUnavailable`.
    """
    from alembic import command

    database = Database(url)
    try:
        with database.migration() as connection:
            found = revision.revision_of(connection, database.name)
            if found is not None and found not in _known():
                raise revision.mismatch(database.name, found, outdated=False)
            if found is not None and found != head() and not force:
                require_nobody_there(connection, database.name, "In spite of them: evald db upgrade --force")
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        database.close()
    return head()


def current(url: str) -> str | None:
    """The revision `url` has; None when it holds no tables. Creates nothing. Raises as `Database` and
    `revision.current`.
    """
    database = Database(url, must_exist=True)
    try:
        return revision.current(database)
    finally:
        database.close()


def head() -> str:
    """The newest revision this code knows."""
    newest = _scripts().get_current_head()
    if newest is None:
        raise RuntimeError("daemon.migrations holds no revisions: the package is incomplete")
    return newest


def ensure_ready(url: str) -> None:
    """Make sure `url` has the schema of this code: an empty database is upgraded, any other is left alone.

    Raises `OperatorError` with the line to type for an outdated one, for a newer one, and for one that would refuse the
    next time as well (a damaged file, tables this user may not read); `StorageUnavailable`.
    """
    try:
        past_bad_reads(lambda: _ensure_ready(url))
    except StorageRefused as error:
        raise OperatorError(error.message, hint=error.hint) from error


def _ensure_ready(url: str) -> None:
    database = Database(url)
    try:
        if revision.current(database) is None:
            upgrade(url)
        else:
            revision.require_current(database)
    finally:
        database.close()


def require_nobody_there(connection: Connection, name: str, otherwise: str = "") -> None:
    """Raises `OperatorError` where daemons are at work. `otherwise`: what else can be done than to stop them. The
    columns are those of the first revision that had a table of daemons."""
    if Daemon.__tablename__ not in inspect(connection).get_table_names():
        return
    columns = (Daemon.host, Daemon.pid, Daemon.seen_at, Daemon.lease_s, now().label("read_at"))
    running = select(*columns).where(Daemon.state != DaemonState.STOPPED).order_by(Daemon.host, Daemon.pid)
    if there := [row for row in connection.execute(running) if not is_silent(row)]:
        who = ", ".join(f"{row.host} (pid {row.pid})" for row in there)
        raise OperatorError(
            f"daemons use database {name}: {who}",
            hint="stop them first; one that was killed counts as gone after "
            f"{max(row.lease_s for row in there):g} s{otherwise and '. '}{otherwise}",
        )


def _known() -> set[str]:
    return {script.revision for script in _scripts().walk_revisions()}


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config())


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "daemon.migrations:.")
    config.set_main_option("path_separator", "os")
    return config
