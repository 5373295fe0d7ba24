"""The statements for owner, writer and reader in `use-postgres.md` do what the page says, on a real Postgres."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from db_examples import new_job, passed
from postgres_server import PostgresServer

from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.daemon_records import DaemonNote
from daemon.db.errors import StorageRefused
from daemon.db.history import History
from daemon.db.models import Base
from daemon.db.repository import Repository
from daemon.db.repository_cleanup import cleanup
from daemon.db.repository_daemons import DaemonRepository

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-postgres.md"
ROLES, GRANTS, EXISTING = re.findall(r"```pgsql\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(params=["before the tables", "after the tables"])
def urls(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[dict[str, str]]:
    """The URL of each role on a database set up by the page, with tables."""
    admin = f"host={postgres.socket_folder} user=evald dbname="
    found = {
        role: f"postgresql://{role}@/evald?host={postgres.socket_folder}"
        for role in ("evald_owner", "evald_writer", "evald_reader")
    }
    # `evald` is the administrator of the test server: the page's writer has another name here.
    roles, grants, existing = (
        re.sub(r"\bevald(?=[;,]| LOGIN)", "evald_writer", text) for text in (ROLES, GRANTS, EXISTING)
    )
    try:
        with psycopg.connect(f"{admin}postgres", autocommit=True) as connection:
            for statement in filter(str.strip, roles.split(";")):
                connection.execute(statement)
        with psycopg.connect(f"{admin}evald", autocommit=True) as connection:
            if request.param == "before the tables":
                connection.execute(grants)
                migrate.upgrade(found["evald_owner"])
            else:
                connection.execute("GRANT CREATE, USAGE ON SCHEMA public TO evald_owner")
                migrate.upgrade(found["evald_owner"])
                connection.execute(grants)
                connection.execute(existing)
        yield found
    finally:
        with psycopg.connect(f"{admin}postgres", autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS evald WITH (FORCE)")
            for role in ("evald_owner", "evald_writer", "evald_reader"):
                connection.execute(f"DROP ROLE IF EXISTS {role}")


def denied(url: str, statement: str) -> bool:
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege:
            return True
    return False


def test_each_role_can_do_its_part_and_no_more(urls: dict[str, str]) -> None:
    writer, reader = Database(urls["evald_writer"]), Database(urls["evald_reader"])
    migrate.ensure_ready(urls["evald_writer"])
    repository = Repository(writer)
    for _ in range(2):
        job = new_job()
        repository.register(job)
        lease = repository.lease_next("me", 60)
        assert lease is not None
        repository.publish(lease, passed())
    daemons = DaemonRepository(writer)
    daemons.report(DaemonNote("me", "here", 1, "0", 1, "/inbox", 60))
    assert [daemons.drain("here"), daemons.undo_drain("here")] == [True, True]
    assert [daemon.host for daemon in History(reader).daemons()] == ["here"]
    assert len(History(reader).jobs(limit=10).jobs) == 2
    with psycopg.connect(urls["evald_reader"]) as connection:
        assert len(connection.execute("SELECT * FROM results").fetchall()) == 2
    for table in Base.metadata.tables:
        assert not denied(urls["evald_reader"], f"SELECT * FROM {table}"), table
        assert denied(urls["evald_reader"], f"DELETE FROM {table}"), table
        assert denied(urls["evald_writer"], f"TRUNCATE {table}"), table
    assert denied(urls["evald_writer"], "CREATE TABLE mine (a integer)")
    assert denied(urls["evald_reader"], "CREATE TABLE mine (a integer)")
    assert not denied(urls["evald_owner"], "CREATE TABLE mine (a integer)")
    cleanup(writer, timedelta(0), keep_best=0)
    assert History(reader).jobs(limit=10).jobs == ()
    assert writer.try_writing()
    assert not reader.try_writing()
    writer.close()
    reader.close()


def test_who_lacks_a_right_is_told_whose_it_is(urls: dict[str, str]) -> None:
    database = Database(urls["evald_reader"])
    with pytest.raises(StorageRefused, match="permission denied") as refused:
        Repository(database).register(new_job())
    assert "(evald db upgrade) the one that owns the tables" in str(refused.value.hint)
    database.close()
