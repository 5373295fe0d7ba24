"""One URL in, short transactions out.

Theory of operation: a transaction is for reading or for writing, and says which (`engines` knows what that means). An
open connection to SQLite goes on with a file that was removed or replaced, and nobody ever sees what it commits there.
So every transaction looks first whether the file is the one that was opened.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, Connection, event, exc, make_url

from daemon.db import engines
from daemon.db.errors import MENDING, StorageDamaged, StorageRefused, StorageUnavailable, translated
from daemon.db.filesystem import refuse_network
from daemon.errors import OperatorError

_TRIAL = """INSERT INTO property (name, value)
    SELECT 'trial ' || n, repeat('x', 1000) FROM generate_series(1, 300) n"""
_STEPS = 100_000  # of SQLite's machine, between two looks at the clock
_SECRETS = ("password", "sslpassword")


class Database:
    """One database, opened lazily. Safe to share between threads; not across `fork`."""

    def __init__(self, url: str, *, must_exist: bool = False, must_be_sound: bool = False) -> None:
        """Raises `OperatorError` for a URL that is not usable: unknown kind, SQLite in memory or on a network file
        system.

        With `must_exist` a missing SQLite file is an `OperatorError` instead of a new, empty database. With
        `must_be_sound` nothing is written once there is `damage`, until the file `is_sound_after_all`.
        """
        self.url = normalised(url)
        self.name = shown(self.url)
        if self.is_sqlite:
            _check_file(Path(self.url.database or ""), must_exist=must_exist)
        self._engine = engines.opened(self.url)
        self._file: tuple[int, int] | None = None
        self._must_be_sound = must_be_sound
        self.damage: StorageDamaged | None = None  # what told so first
        if self.is_sqlite:
            event.listen(self._engine, "connect", self._note_file)
        self._writer = engines.for_writing(self._engine)

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction for reading. Raises `StorageUnavailable` or `StorageRefused`."""
        self._require_file()
        with self._translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction for writing, committed when the block ends well and rolled back when it does not.

        Raises `StorageUnavailable` (the commit is then in doubt) or `StorageRefused`.
        """
        self._require_file()
        self._require_soundness()
        with self._translated(), self._writer.begin() as connection:
            yield connection
            self._require_soundness()  # another thread may have met it meanwhile

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with translated(self.name):
                yield
        except StorageDamaged as error:
            self.damage = self.damage or error
            raise

    def try_writing(self) -> bool:
        """Whether this role may write: some rows are written into a table and taken back. Raises `StorageUnavailable`
        where there is no room, or the server takes no writes at all."""
        try:
            with self.read() as connection:  # never committed
                connection.exec_driver_sql(_TRIAL)
        except StorageRefused:
            return False
        return True

    def looked_through(self, limit_s: float, *, indexes: bool = False) -> bool:
        """Whether every page of a SQLite file could be looked at within `limit_s`; with `indexes` also whether the
        indexes agree with the tables. Raises `StorageDamaged`."""
        deadline_s = time.monotonic() + limit_s
        with self.read() as connection:
            driver = engines.sqlite_driver(connection)
            driver.set_progress_handler(lambda: time.monotonic() > deadline_s, _STEPS)
            try:
                found = driver.execute(f"PRAGMA {'integrity' if indexes else 'quick'}_check(1)").fetchone()[0]
            except sqlite3.OperationalError:
                if time.monotonic() > deadline_s:  # interrupted, by us
                    return False
                raise
            finally:
                driver.set_progress_handler(None, 0)
        if found != "ok":
            raise StorageDamaged(f"database {self.name} is damaged: {' '.join(found.split())}", hint=MENDING)
        return True

    def is_sound_after_all(self, limit_s: float) -> bool:
        """Whether `damage` was only a disk that failed to read once, which SQLite reports in the same way. Now all of
        the file can be read and is sound: `damage` is then forgotten. False also where `limit_s` is not enough to find
        out."""
        self._engine.dispose()  # pages that a connection keeps in memory tell nothing of the disk
        try:
            is_sound = self.looked_through(limit_s, indexes=True)
        except (StorageRefused, StorageUnavailable):
            is_sound = False
        if is_sound:
            self.damage = None
        return is_sound

    @contextmanager
    def migration(self) -> Iterator[Connection]:
        """One transaction for a change of schema, by one process at a time. Foreign keys are not checked while tables
        are rebuilt."""
        with translated(self.name), self._writer.connect() as connection:
            if self.is_sqlite:
                engines.sqlite_driver(connection).execute("PRAGMA foreign_keys = OFF")
            try:
                with connection.begin():
                    if not self.is_sqlite:
                        connection.connection.driver_connection.limit_s = None  # type: ignore[union-attr]
                        for limit in engines.LIMITS_MS:  # it may take as long as it takes, and wait for another one
                            connection.exec_driver_sql(f"SET LOCAL {limit} = 0")
                        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(hashtext('evald schema'))")
                    yield connection
                    _check_foreign_keys(connection, self.is_sqlite)
            finally:
                connection.invalidate()  # the next user gets a fresh connection, foreign keys on

    def close(self) -> None:
        """Drop every pooled connection. The database may be used again afterwards."""
        self._engine.dispose()
        self._file = None

    def _require_soundness(self) -> None:
        if self._must_be_sound and self.damage is not None:
            reason = "it may be damaged, and is looked through before more is written"
            raise StorageUnavailable(f"database {self.name} is not available: {reason}") from self.damage

    def _note_file(self, _connection: object, _record: object) -> None:
        self._file = self._file or _identity(self.url.database or "")

    def _require_file(self) -> None:
        if self._file is not None and _identity(self.url.database or "") != self._file:
            raise StorageUnavailable(
                f"database {self.name} is not available: its file was removed or replaced while it was in use",
                hint="put the same file back, or stop every daemon and start again with what is there",
            )


def shown(url: URL) -> str:
    """The URL as people may see it, and paste it for psql: without driver and password, wherever the password
    stands."""
    plain = url.difference_update_query(_SECRETS).set(drivername=url.get_backend_name())
    return plain.render_as_string(hide_password=True)


def normalised(url: str) -> URL:
    """`url` with its driver: Postgres by psycopg 3, SQLite by the standard library. Raises `OperatorError`."""
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise OperatorError("the database URL cannot be read", hint=_URL_HINT) from error
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return parsed.set(drivername="sqlite+pysqlite")
    raise OperatorError(f"database kind {parsed.drivername!r} is not supported", hint=_URL_HINT)


def file_of(url: str) -> Path | None:
    """Where the SQLite database of `url` is, there or not; None for a server's. Raises `OperatorError`."""
    parsed = normalised(url)
    return Path(parsed.database or "") if parsed.get_backend_name() == "sqlite" else None


_URL_HINT = "use sqlite:////absolute/path/evald.sqlite3 or postgresql://user@host/name"


def _check_file(path: Path, *, must_exist: bool) -> None:
    if str(path) in ("", ".", ":memory:") or str(path).startswith("file:"):
        raise OperatorError("SQLite needs a file on disk", hint=_URL_HINT)
    if must_exist and not path.exists():
        raise OperatorError(f"no database at {path}", hint="evald run or evald db upgrade creates it; check --home")
    if not path.parent.is_dir():
        raise OperatorError(f"the folder {path.parent} of the SQLite database does not exist", hint="check --home")
    refuse_network(path)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _check_foreign_keys(connection: Connection, is_sqlite: bool) -> None:
    if not is_sqlite:
        return
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if broken:
        raise OperatorError(
            f"the change of schema would leave {len(broken)} rows without their parent; nothing was changed",
            hint="go on with the evald that made this database, and report it; sqlite3 FILE 'PRAGMA foreign_key_check'",
        )
