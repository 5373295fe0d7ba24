"""URLs, pragmas, transactions, and how storage faults look from outside."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest
from db_examples import new_job, passed
from postgres_server import PostgresServer
from sqlalchemy import exc, select, text

from daemon.db import engines, errors, filesystem, migrate, samples
from daemon.db.connection import Database, normalised
from daemon.db.errors import StorageDamaged, StorageRefused, StorageUnavailable
from daemon.db.history import History
from daemon.db.models import Job
from daemon.db.repository import Repository
from daemon.db.sqlfunctions import now
from daemon.errors import OperatorError
from daemon.mounts import Mount


class TestUrl:
    @pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
    def test_postgres_is_reached_by_psycopg_3(self, scheme: str) -> None:
        assert normalised(f"{scheme}://me:secret@host/name").drivername == "postgresql+psycopg"

    @pytest.mark.parametrize("url", ["mysql://host/name", "postgresql+asyncpg://host/name", "no url at all", ""])
    def test_other_databases_are_refused(self, url: str) -> None:
        with pytest.raises(OperatorError) as caught:
            normalised(url)
        assert caught.value.hint is not None

    @pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"])
    def test_sqlite_needs_a_file(self, url: str) -> None:
        with pytest.raises(OperatorError, match="needs a file on disk"):
            Database(url)

    def test_a_missing_folder_or_file_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(OperatorError, match="nowhere"):
            Database(f"sqlite:///{tmp_path / 'nowhere' / 'evald.sqlite3'}")
        with pytest.raises(OperatorError, match="no database at"):
            Database(f"sqlite:///{tmp_path / 'evald.sqlite3'}", must_exist=True)
        assert not list(tmp_path.iterdir())

    def test_a_password_is_not_shown(self) -> None:
        database = Database("postgresql://me:secret@localhost:1/name")
        assert database.name == "postgresql://me:***@localhost:1/name"
        with pytest.raises(StorageUnavailable) as caught, database.read():
            pass
        assert "secret" not in str(caught.value)

    def test_it_is_shown_as_it_is_typed_for_psql_as_well(self, tmp_path: Path) -> None:
        for typed in ("postgresql://me@db-host/name", f"sqlite:///{tmp_path / 'evald.sqlite3'}"):
            assert Database(typed).name == typed


class TestSqlite:
    def test_every_connection_is_durable_and_checked(self, sqlite_url: str) -> None:
        with Database(sqlite_url).read() as connection:
            found = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
            }
        assert found == {"journal_mode": "wal", "synchronous": 2, "busy_timeout": 10_000, "foreign_keys": 1}

    def test_a_write_takes_the_lock_at_once_and_a_read_never_does(
        self, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(engines, "BUSY_TIMEOUT_MS", 1)
        database, rival = Database(sqlite_url), Database(sqlite_url)
        with database.write():
            with rival.read() as reader:
                assert reader.scalar(text("SELECT 1")) == 1
            with pytest.raises(StorageUnavailable), rival.write():
                pass
        with rival.write():
            pass

    def test_a_failed_write_leaves_nothing_and_no_lock(self, sqlite_url: str) -> None:
        database = Database(sqlite_url)
        with pytest.raises(ZeroDivisionError), database.write() as connection:
            connection.execute(text("CREATE TABLE t (a INTEGER)"))
            raise ZeroDivisionError
        with database.write() as connection:
            assert connection.scalar(text("SELECT count(*) FROM sqlite_master")) == 0

    def test_a_file_that_was_removed_or_replaced_under_it_takes_no_more_transactions(self, tmp_path: Path) -> None:
        file, aside = tmp_path / "evald.sqlite3", tmp_path / "aside"
        database = Database(f"sqlite:///{file}")
        with database.write() as connection:
            connection.execute(text("CREATE TABLE kept (number INTEGER)"))
        file.rename(aside)
        for _ in range(2):
            with pytest.raises(StorageUnavailable, match="removed or replaced"), database.write():
                pass
            with pytest.raises(StorageUnavailable, match="removed or replaced"), database.read():
                pass
            file.touch()
        aside.rename(file)
        with database.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM kept")).scalar_one() == 0
        database.close()

    def test_a_file_that_is_no_database_is_a_storage_fault(self, tmp_path: Path) -> None:
        path = tmp_path / "evald.sqlite3"
        path.write_bytes(b"this is not a database, it only looks like one to an optimist" * 100)
        with pytest.raises(StorageRefused) as caught, Database(f"sqlite:///{path}").read():
            pass
        assert "restore a backup" in str(caught.value.hint)

    def test_a_damaged_page_is_found_by_a_look_through_the_file_and_remembered_by_whoever_meets_it(
        self, tmp_path: Path
    ) -> None:
        path = tmp_path / "evald.sqlite3"
        database = Database(f"sqlite:///{path}")
        with database.write() as connection:
            connection.execute(text("CREATE TABLE kept (text TEXT)"))
            connection.execute(text("INSERT INTO kept VALUES (hex(zeroblob(20000)))"))
        assert database.looked_through(60)
        page = 2
        database.close()
        with path.open("r+b") as file:
            file.seek((page - 1) * 4096)
            file.write(b"\xa5" * 4096)
        assert database.damage is None
        with pytest.raises(StorageDamaged, match="damaged"):
            database.looked_through(60)
        with pytest.raises(StorageDamaged, match="malformed") as caught, database.read() as connection:
            connection.execute(text("SELECT * FROM kept")).all()
        assert "restore a backup" in str(caught.value.hint)
        assert database.damage is caught.value
        database.close()

    def test_damage_that_is_none_is_forgotten_and_other_is_not(self, tmp_path: Path) -> None:
        """A disk that fails to read once has SQLite say the same as one that has lost what was written."""
        path = tmp_path / "evald.sqlite3"
        database = Database(f"sqlite:///{path}")
        with database.write() as connection:
            connection.execute(text("CREATE TABLE kept (text TEXT)"))
            connection.execute(text("INSERT INTO kept VALUES (hex(zeroblob(20000)))"))
        database.damage = told = StorageDamaged("database disk image is malformed")
        assert database.is_sound_after_all(60)
        assert database.damage is None
        database.close()
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * 4096)
        database.damage = told
        assert not database.is_sound_after_all(60)
        assert database.damage is not None
        database.close()

    def test_nothing_is_written_between_damage_and_a_look_that_finds_none(self, tmp_path: Path) -> None:
        """Also by who had begun to: what is written into a damaged file may be lost, or spread it."""
        database = Database(f"sqlite:///{tmp_path / 'evald.sqlite3'}", must_be_sound=True)
        with database.write() as connection:
            connection.execute(text("CREATE TABLE kept (number INTEGER)"))
        with pytest.raises(StorageUnavailable, match="may be damaged"), database.write() as connection:
            connection.execute(text("INSERT INTO kept VALUES (1)"))
            database.damage = StorageDamaged("database disk image is malformed")
        with pytest.raises(StorageUnavailable, match="may be damaged"), database.write() as connection:
            connection.execute(text("INSERT INTO kept VALUES (2)"))
        assert database.is_sound_after_all(60)
        with database.write() as connection:
            connection.execute(text("INSERT INTO kept VALUES (3)"))
            assert connection.scalars(text("SELECT number FROM kept")).all() == [3]
        database.close()

    def test_a_look_through_a_large_file_ends_in_time(self, tmp_path: Path) -> None:
        database = Database(f"sqlite:///{tmp_path / 'evald.sqlite3'}")
        with database.write() as connection:
            connection.execute(text("CREATE TABLE kept (number INTEGER PRIMARY KEY)"))
            numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) SELECT i FROM n"
            connection.execute(text(f"INSERT INTO kept {numbers}"))
        assert not database.looked_through(0)
        assert database.looked_through(600)
        database.close()

    def test_a_file_that_may_not_be_written_is_told_with_what_to_look_at(self, ready_sqlite_url: str) -> None:
        database = Database(ready_sqlite_url)
        with pytest.raises(StorageUnavailable, match="readonly") as caught, database.write() as connection:
            connection.exec_driver_sql("PRAGMA query_only = ON")
            connection.exec_driver_sql("INSERT INTO property (name, value) VALUES ('a', 'b')")
        assert "chown -R" in str(caught.value.hint)
        database.close()

    @pytest.mark.parametrize(
        ("fault", "hint"),
        [("database or disk is full", "df -h, df -i"), ("unable to open database", "findmnt -T")],
    )
    def test_a_file_that_finds_no_room_is_told_with_what_to_look_at(
        self, ready_sqlite_url: str, fault: str, hint: str
    ) -> None:
        """On a full or read-only disk not even questions are answered: SQLite makes files for them."""
        database = Database(ready_sqlite_url)
        with pytest.raises(StorageUnavailable, match=fault) as caught, database.write() as connection:
            if "full" in fault:
                connection.exec_driver_sql("PRAGMA max_page_count = 1")
                connection.exec_driver_sql("CREATE TABLE more AS SELECT randomblob(1000000)")
            else:
                connection.exec_driver_sql("ATTACH '/proc/1/nowhere' AS elsewhere")
        assert hint in str(caught.value.hint)
        database.close()


class TestNetworkFileSystem:
    @pytest.mark.parametrize("fstype", ["nfs4", "cifs", "gfs2", "fuse.sshfs"])
    def test_sqlite_on_it_is_refused(self, sqlite_url: str, fstype: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(filesystem, "mount_of", lambda _: Mount("/", fstype))
        with pytest.raises(OperatorError, match=rf"network file system \({fstype}\)") as caught:
            Database(sqlite_url)
        assert "Postgres" in str(caught.value.hint)

    @pytest.mark.parametrize("fstype", ["ext4", "overlay", "fuseblk", "fuse.fuse-overlayfs"])
    def test_a_local_disk_is_fine(self, sqlite_url: str, fstype: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(filesystem, "mount_of", lambda _: Mount("/", fstype))
        Database(sqlite_url).close()


class TestPostgres:
    def test_a_server_without_room_is_told_so_and_one_that_takes_no_writes_is_found_by_a_trial(
        self, ready_postgres_url: str
    ) -> None:
        full = "DO $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$"
        database = Database(ready_postgres_url)
        assert database.try_writing()
        with database.read() as connection:
            left = connection.exec_driver_sql("SELECT count(*) FROM property WHERE name LIKE 'trial%%'").scalar_one()
        assert left == 0
        with pytest.raises(StorageUnavailable, match="No space left") as caught, database.write() as connection:
            connection.exec_driver_sql(full)
        assert "the disk of the database server is full" in str(caught.value.hint)
        database.close()
        standby = Database(f"{ready_postgres_url}&options=-c default_transaction_read_only=on")
        with pytest.raises(StorageUnavailable, match="read-only transaction"):
            standby.try_writing()
        standby.close()

    def test_every_connection_has_its_timeouts(self, postgres_url: str) -> None:
        with Database(postgres_url).read() as connection:
            for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
                assert connection.exec_driver_sql(f"SHOW {name}").scalar() not in ("0", None), name
            assert connection.exec_driver_sql("SHOW TimeZone").scalar() == "UTC"

    def test_transactions_are_of_one_kind_whatever_the_server_begins_otherwise(self, postgres_url: str) -> None:
        """Moves are compare-and-set: who comes second is to find another state, and not a serialization failure."""
        database = Database(f"{postgres_url}&options=-c default_transaction_isolation=serializable")
        for begun in (database.read, database.write):
            with begun() as connection:
                assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"
        database.close()

    @pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
    def test_a_database_that_cannot_hold_every_text_is_refused_with_what_to_type(
        self, postgres: PostgresServer, encoding: str
    ) -> None:
        url = postgres.create_database(options=f"ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'")
        with pytest.raises(OperatorError, match=f"has the encoding {encoding}") as caught:
            migrate.upgrade(url)
        assert "ENCODING 'UTF8' TEMPLATE template0" in str(caught.value.hint)
        postgres.drop_database(url)

    def test_a_session_killed_in_the_middle_is_a_storage_fault_and_heals(
        self, postgres: PostgresServer, postgres_url: str
    ) -> None:
        migrate.upgrade(postgres_url)
        database = Database(postgres_url)
        repository, job = Repository(database), new_job()
        with pytest.raises(StorageUnavailable), database.write() as connection:
            connection.execute(text("UPDATE job SET priority = 1"))
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
            with psycopg.connect(postgres_url, autocommit=True) as admin:
                admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
            connection.execute(text("UPDATE job SET priority = 2"))
        assert repository.register(job)

    def test_pooled_connections_that_died_meanwhile_are_replaced(self, postgres_url: str) -> None:
        migrate.upgrade(postgres_url)
        database = Database(postgres_url)
        with database.read() as connection:
            pid = connection.scalar(text("SELECT pg_backend_pid()"))
        with psycopg.connect(postgres_url, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", (pid,))
        assert Repository(database).register(new_job())


def test_the_database_clock_is_utc_and_can_be_offset(database: Database) -> None:
    with database.read() as connection:
        here, later = connection.execute(select(now(), now(3600.5))).one()
    assert abs((here - datetime.now(UTC)).total_seconds()) < 60
    assert (later - here).total_seconds() == pytest.approx(3600.5, abs=0.01)


def test_the_clock_stands_still_within_a_statement_and_goes_on_between_two(
    database: Database, repository: Repository
) -> None:
    for _ in range(50):
        repository.register(new_job())
    statement = select(now()).select_from(Job)
    with database.read() as connection:
        first, second = (set(connection.scalars(statement)) for _ in range(2))
    assert (len(first), len(second)) == (1, 1)
    assert max(first) < max(second)


def test_a_commit_whose_answer_is_lost_is_not_done_twice(
    repository: Repository, database: Database, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = new_job()
    repository.register(job)
    lease = repository.lease(job.job_id, "me", 60)
    assert lease is not None
    real_write = Database.write

    def write_without_answer(self: Database) -> object:
        class Losing:
            def __enter__(inner) -> object:  # noqa: N805
                inner.real = real_write(self)
                return inner.real.__enter__()

            def __exit__(inner, *error: object) -> None:  # noqa: N805
                inner.real.__exit__(*error)
                raise StorageUnavailable("the connection broke after COMMIT was sent")

        return Losing()

    with monkeypatch.context() as patch:
        patch.setattr(Database, "write", write_without_answer)
        with pytest.raises(StorageUnavailable):
            repository.publish(lease, passed())
    assert not repository.publish(lease, passed()), "it had been published"
    assert len(history.evaluations(job.job_id)) == 1
    assert [event.kind for event in history.events(job.job_id)].count("published") == 1


def test_a_database_without_tables_is_a_storage_fault_not_a_sqlalchemy_one(url: str) -> None:
    with pytest.raises((StorageRefused, StorageUnavailable)):
        History(Database(url)).counts_by_state()


def test_who_opens_a_new_sqlite_database_while_another_writes_to_it_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite does not wait by itself to put it into write-ahead mode."""
    file = tmp_path / "new.sqlite3"
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    waited_s: list[float] = []

    def sleep(seconds: float) -> None:
        waited_s.append(seconds)
        other.execute("ROLLBACK")

    monkeypatch.setattr(engines, "time", SimpleNamespace(**{**vars(time), "sleep": sleep}))
    database = Database(f"sqlite:///{file}")
    with database.read() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
    assert waited_s
    database.close()
    other.close()


def test_threads_may_share_a_database(database: Database) -> None:
    seen: list[int] = []

    def ask() -> None:
        with database.read() as connection:
            seen.append(connection.scalar(text("SELECT 1")))

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert seen == [1] * 16


def test_packed_samples_are_exact_and_torn_ones_refused() -> None:
    figures = (0.1, 1e-300, 5e-324, 123456.789)
    assert samples.unpack_ms(samples.pack_ms(figures)) == figures
    assert samples.pack_ms((1.0,)) == b"\0\0\0\0\0\0\xf0\x3f", "little-endian float64"
    assert samples.unpack_calls(samples.pack_calls((1, 256))) == (1, 256)
    assert samples.unpack_ms(b"") == ()
    with pytest.raises(ValueError, match="not a whole number"):
        samples.unpack_ms(b"1234567")


def test_sqlite_is_new_enough_for_the_statements_used() -> None:
    assert sqlite3.sqlite_version_info >= (3, 35)


def test_a_silent_network_is_given_up_soon_and_the_url_decides_how_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, object]] = []
    original = engines.create_engine

    def noted(url: object, **options: object) -> object:
        made.append(options["connect_args"])  # type: ignore[arg-type]
        return original(url, **options)

    monkeypatch.setattr(engines, "create_engine", noted)
    for query in ("", "?tcp_user_timeout=5000&connect_timeout=3"):
        Database(f"postgresql://me@nowhere/db{query}").close()
    assert (made[0]["tcp_user_timeout"], made[0]["keepalives"]) == (45_000, 1)
    assert (made[1]["tcp_user_timeout"], made[1]["connect_timeout"]) == ("5000", "3")


def test_a_server_that_is_stopped_in_the_middle_is_given_up_and_not_held_against_it(
    ready_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "SILENCE_TIMEOUT_S", 1.0)
    database = Database(ready_postgres_url)
    stopped = 0
    try:
        with pytest.raises(StorageUnavailable, match="no answer from the server"), database.read() as asking:
            stopped = asking.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
            os.kill(stopped, signal.SIGSTOP)
            asking.exec_driver_sql("SELECT 1")
        assert any(is_heard(database) for _ in range(60)), "on a busy machine it may be late itself"
    finally:
        if stopped:
            os.kill(stopped, signal.SIGCONT)
        database.close()


def is_heard(database: Database) -> bool:
    try:
        with database.read() as asking:
            return asking.exec_driver_sql("SELECT 1").scalar_one() == 1
    except StorageUnavailable:
        return False


def test_a_migration_may_take_longer_than_any_answer(ready_postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for silence_s in (0.5, 5.0):
        monkeypatch.setattr(engines, "SILENCE_TIMEOUT_S", silence_s)
        database = Database(ready_postgres_url)
        if not is_heard(database) and silence_s < 5:  # a busy machine: any answer takes longer
            continue
        with database.migration() as changing:
            changing.exec_driver_sql(f"SELECT pg_sleep({3 * silence_s})")
        with pytest.raises(StorageUnavailable), database.read() as asking:
            asking.exec_driver_sql(f"SELECT pg_sleep({3 * silence_s})")
        database.close()
        break


_MEETING_A_LIMIT = """
import os, resource, sys
from daemon.db.connection import Database
from daemon.errors import HarnessError
database, what, most = Database(sys.argv[1]), getattr(resource, sys.argv[2]), int(sys.argv[3])
with database.read() as connection:
    connection.exec_driver_sql("SELECT 1")
database.close()
resource.setrlimit(what, (most, resource.getrlimit(what)[1]))
held = []
try:
    while what == resource.RLIMIT_NOFILE:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
try:
    with database.write() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x)")
except HarnessError as error:
    print(f"{error.message}|{error.hint}")
"""


@pytest.mark.parametrize(
    ("limit", "most", "told", "hint"),
    [
        ("RLIMIT_FSIZE", 0, "no file may be larger than 0 bytes here", "ulimit -f "),
        ("RLIMIT_NOFILE", 64, "64 files are open, the most there may be", "ulimit -n "),
    ],
)
def test_a_limit_that_sqlite_has_met_is_named(tmp_path: Path, limit: str, most: int, told: str, hint: str) -> None:
    """It says "disk I/O error" and "unable to open database file" of a disk that has nothing."""
    argv = [sys.executable, "-c", _MEETING_A_LIMIT, f"sqlite:///{tmp_path / 'books.sqlite3'}", limit, str(most)]
    message, _, where = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.partition("|")
    assert told in message
    assert where.startswith(hint)


def test_a_disk_that_refuses_sqlite_is_what_is_to_be_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says "disk I/O error" of a full one too, where it cannot map the file it shares with others."""
    refused = sqlite3.OperationalError("disk I/O error")
    refused.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    monkeypatch.setattr(errors.resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with pytest.raises(StorageUnavailable, match="disk I/O error") as caught, errors.translated("books"):
        raise exc.OperationalError("COMMIT", {}, refused)
    assert "df -h" in str(caught.value.hint)
