"""A daemon whose database fails, each time at a place in its code; the books about it as JSON.

As `failing_calls`, with statements, commits and connections in place of file calls: they fail, or a commit is made and
its answer is lost. `argv`: an empty folder on a quick disk, `sqlite` or `postgres`, `all` or `each`, and what to try.
A minus before a fault: a commit is made, and its answer is lost.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from psycopg import errors
from sqlalchemy import URL, Engine

sys.path.insert(0, str(Path(__file__).parent.parent))

import postgres_server
from failing_calls import Injector, Trial, hurry, tell

from daemon.db import engines, migrate

_Answer = TypeVar("_Answer")
_OF_SQLITE = {
    "locked": ("database is locked", sqlite3.SQLITE_BUSY),
    "full": ("database or disk is full", sqlite3.SQLITE_FULL),
    "io": ("disk I/O error", sqlite3.SQLITE_IOERR),
    "readonly": ("attempt to write a readonly database", sqlite3.SQLITE_READONLY),
    "cannot-open": ("unable to open database file", sqlite3.SQLITE_CANTOPEN),
}
_OF_POSTGRES = {
    "deadlock": errors.DeadlockDetected("deadlock detected"),
    "serialization": errors.SerializationFailure("could not serialize access due to concurrent update"),
    "lock": errors.LockNotAvailable("canceling statement due to lock timeout"),
    "full": errors.DiskFull("could not extend file"),
    "readonly": errors.ReadOnlySqlTransaction("cannot execute UPDATE in a read-only transaction"),
    "slow": errors.QueryCanceled("canceling statement due to statement timeout"),
}


def _fail(fault: str, driver: Any) -> None:
    """As the database would. `driver`: its connection, if there is one yet."""
    if fault == "lost":
        if driver is not None:
            driver.close()
        raise errors.OperationalError("server closed the connection unexpectedly")
    if fault in _OF_SQLITE and isinstance(driver, sqlite3.Connection | None):
        text, code = _OF_SQLITE[fault]
        error = sqlite3.OperationalError(text)
        error.sqlite_errorcode = code
        raise error
    raise _OF_POSTGRES[fault]


class Statements:
    """Of every engine that is opened from now on, once there is an injector."""

    def __init__(self) -> None:
        self.injector: Injector | None = None
        open_one = engines.opened

        def opened(url: URL) -> Engine:
            engine = open_one(url)
            self._wrap(engine.dialect)
            return engine

        engines.opened = opened

    def _wrap(self, dialect: Any) -> None:
        for name in ("do_execute", "do_execute_no_params", "do_executemany"):
            setattr(dialect, name, self._wrapped("execute", getattr(dialect, name), lambda cursor: cursor.connection))
        dialect.do_commit = self._wrapped("commit", dialect.do_commit, _driver_of)
        dialect.connect = self._wrapped("connect", dialect.connect, lambda *_: None)

    def _wrapped(
        self, call: str, do: Callable[..., _Answer], driver_of: Callable[..., Any]
    ) -> Callable[..., _Answer | None]:
        def done(*given: Any, **more: Any) -> _Answer | None:
            if self.injector is None or not self.injector.is_to_fail(call):
                return do(*given, **more)
            fault = str(self.injector.answer)
            if fault.startswith("-"):
                do(*given, **more)
            _fail(fault.removeprefix("-"), driver_of(*given[:1]))
            return None

        return done


def _driver_of(connection: Any) -> Any:
    """SQLAlchemy hands its own over, or the driver's."""
    return getattr(connection, "driver_connection", connection)


def main() -> None:
    folder, kind, what, *faults = sys.argv[1:]
    place, statements = Path(folder), Statements()
    migrate.ensure_ready(f"sqlite:///{place}/empty.sqlite3")
    hurry()

    def may_fail(where: str, fault: str) -> bool:
        return not fault.startswith("-") or where.startswith("commit ")

    def run(at: Path, injector: Injector, max_attempts: int) -> dict[str, object]:
        url = None if server is None else server.create_database(template)
        trial = Trial(at, injector, max_attempts, url)
        statements.injector = injector
        try:
            return trial.run()
        finally:
            injector.is_on = False
            if server is not None and url is not None:
                server.drop_database(url)

    with postgres_server.running() if kind == "postgres" else contextlib.nullcontext() as server:
        template = None if server is None else server.create_database()
        if template is not None:
            migrate.upgrade(template)
        tell(place, what, faults, may_fail, run)


if __name__ == "__main__":
    main()
