"""The schema's way from nothing to now, on SQLite and Postgres."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from db_examples import new_job
from sqlalchemy import Column, Connection, Integer, inspect, text
from sqlalchemy.dialects import sqlite

from daemon.db import errors, migrate, piles, revision
from daemon.db import repository_leases as leases
from daemon.db.connection import Database
from daemon.db.errors import StorageDamaged, StorageRefused
from daemon.db.history import History
from daemon.db.models import Base
from daemon.db.repository import Repository
from daemon.errors import OperatorError

PROCESSES = 4
LIMIT_S = 300


def set_revision(url: str, found: str) -> None:
    with Database(url).write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :found"), {"found": found})


def test_an_empty_database_is_upgraded_by_itself(url: str) -> None:
    migrate.ensure_ready(url)
    assert migrate.current(url) == migrate.head()
    assert Repository(Database(url)).register(new_job())


def test_a_database_that_is_ready_is_left_alone(url: str) -> None:
    migrate.ensure_ready(url)
    job = new_job()
    Repository(Database(url)).register(job)
    migrate.ensure_ready(url)
    assert migrate.upgrade(url) == migrate.head()
    assert not Repository(Database(url)).register(job), "it is still there"


def test_a_database_has_an_id_of_its_own_and_keeps_it(url: str, tmp_path: Path) -> None:
    migrate.ensure_ready(url)
    found = History(Database(url)).database_id()
    assert re.fullmatch("[0-9a-f]{32}", found)
    migrate.upgrade(url)
    assert History(Database(url)).database_id() == found
    another = f"sqlite:///{tmp_path / 'another.sqlite3'}"
    migrate.ensure_ready(another)
    assert History(Database(another)).database_id() != found


def test_an_outdated_database_is_refused_with_the_line_to_type(url: str) -> None:
    migrate.upgrade(url)
    set_revision(url, "0000")
    with pytest.raises(OperatorError) as caught:
        migrate.ensure_ready(url)
    assert "evald db upgrade" in str(caught.value.hint)
    assert migrate.current(url) == "0000", "nothing was changed"


def test_a_newer_database_is_refused_by_daemon_and_upgrade(url: str) -> None:
    migrate.upgrade(url)
    set_revision(url, "9999")
    for action in (migrate.ensure_ready, migrate.upgrade):
        with pytest.raises(OperatorError, match="newer than this evald"):
            action(url)


def test_somebody_elses_database_is_refused(url: str) -> None:
    with Database(url).write() as connection:
        connection.execute(text("CREATE TABLE payroll (id INTEGER)"))
    for action in (migrate.ensure_ready, migrate.upgrade):
        with pytest.raises(OperatorError, match="payroll"):
            action(url)


def test_asking_for_the_revision_creates_no_file(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="no database"):
        migrate.current(f"sqlite:///{tmp_path / 'evald.sqlite3'}")
    assert not list(tmp_path.iterdir())


def test_readers_are_told_what_is_wrong_without_alembic(url: str) -> None:
    database = Database(url)
    with pytest.raises(OperatorError, match="is empty"):
        revision.require_current(database)
    migrate.upgrade(url)
    revision.require_current(database)
    set_revision(url, "0000")
    with pytest.raises(OperatorError, match=f"needs {revision.REVISION}"):
        revision.require_current(database)


def test_the_revision_of_the_code_is_the_newest_file() -> None:
    assert migrate.head() == revision.REVISION


def test_models_and_migrations_say_the_same(url: str) -> None:
    migrate.upgrade(url)
    with Database(url).read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
        Base.metadata.tables["job"].append_column(extra := Column("extra", Integer))
        try:
            assert compare_metadata(context, Base.metadata), "the comparison can fail"
        finally:
            Base.metadata.tables["job"]._columns.remove(extra)  # type: ignore[attr-defined]


def test_check_constraints_and_partial_indexes_match_the_models(sqlite_url: str, tmp_path: Path) -> None:
    """What the comparison of alembic does not look at: the text of CHECKs and of indexes with conditions."""
    other_url = f"sqlite:///{tmp_path / 'models.sqlite3'}"
    migrate.upgrade(sqlite_url)
    with Database(other_url).write() as connection:
        Base.metadata.create_all(connection)
    assert _shape(sqlite_url) == _shape(other_url)


def _shape(url: str) -> dict[str, set[str]]:
    with Database(url).read() as connection:
        found = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type <> 'view'")).all()
    shape = {}
    for name, sql in found:
        if name == "alembic_version" or sql is None:
            continue
        flat = re.sub(r"\s+", " ", sql).strip()
        checks = set(re.findall(r"CONSTRAINT \w+ (?:CHECK \(.*?\)(?=, CONSTRAINT| \)$|\)$)|UNIQUE \([^)]*\))", flat))
        shape[name] = checks if flat.startswith("CREATE TABLE") else {flat}
    return shape


def test_every_constraint_has_a_name(postgres_url: str) -> None:
    migrate.upgrade(postgres_url)
    with Database(postgres_url).read() as connection:
        inspector = inspect(connection)
        for table in Base.metadata.tables:
            names = [one["name"] for one in inspector.get_check_constraints(table)]
            names += [one["name"] for one in inspector.get_unique_constraints(table)]
            names += [one["name"] for one in inspector.get_foreign_keys(table)]
            names.append(inspector.get_pk_constraint(table)["name"])
            for name in names:
                assert re.fullmatch(rf"(ck|uq|fk|pk)_{table}(_\w+)?", str(name)), name


def test_several_daemons_that_start_at_once_create_it_once(url: str) -> None:
    code = f"from daemon.db import migrate; migrate.ensure_ready({url!r}); print(migrate.current({url!r}))"
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    for process in started:
        out, err = process.communicate(timeout=LIMIT_S)
        assert (out.strip(), process.returncode) == (migrate.head(), 0), err


def test_a_failed_upgrade_changes_nothing(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alembic.command.upgrade", _fail_after_a_table)
    with pytest.raises(StorageRefused):
        migrate.upgrade(url)
    monkeypatch.undo()
    assert revision.current(Database(url)) is None
    migrate.ensure_ready(url)


def _fail_after_a_table(config: object, _target: str) -> None:
    connection = config.attributes["connection"]  # type: ignore[attr-defined]
    connection.execute(text("CREATE TABLE bundle (id INTEGER PRIMARY KEY)"))
    connection.execute(text("INSERT INTO bundle VALUES (1)"))
    connection.execute(text("INSERT INTO bundle VALUES (1)"))


def test_no_revision_offers_a_downgrade() -> None:
    for script in migrate._scripts().walk_revisions():
        assert not hasattr(script.module, "downgrade"), script.revision


def test_foreign_keys_are_on_again_after_an_upgrade(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.migration() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 0
    with database.write() as connection:
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


@pytest.mark.parametrize("sql", ["lease", "newest", "problem", "finished", "prefix"])
def test_frequent_questions_are_index_lookups(sqlite_url: str, sql: str) -> None:
    migrate.upgrade(sqlite_url)
    order = "ORDER BY created_at DESC, id DESC LIMIT 1"
    questions = {
        "lease": "SELECT id FROM job WHERE lease_until < :a",
        "newest": f"SELECT id FROM job WHERE name = :a {order}",
        "problem": f"SELECT id FROM job WHERE problem = :a {order}",
        "finished": "SELECT id FROM job WHERE finished_at >= :a ORDER BY finished_at LIMIT 1",
        "prefix": "SELECT id FROM job WHERE id BETWEEN :a AND :a ORDER BY id",
    }
    with Database(sqlite_url).read() as connection:
        plan = plan_of(connection, questions[sql], a="x")
    assert "USING" in plan, plan
    assert "TEMP B-TREE" not in plan, plan


def plan_of(connection: Connection, sql: str, **values: str) -> str:
    """How SQLite would answer, step by step."""
    return " / ".join(row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {sql}"), values))


@pytest.mark.parametrize(
    ("how", "index"),
    [
        ({}, "ix_job_next"),
        ({"turns": ((1, ""), (2, ""))}, "ix_job_next"),
        ({"turns": ((1, ""), (1, "0" * 8)), "tags": ("0" * 8,), "server_uid": 1}, "ix_job_next"),
        ({"oldest": True}, "ix_job_oldest"),
    ],
)
def test_the_next_job_is_found_without_a_walk_through_the_queue(
    sqlite_url: str, how: dict[str, Any], index: str
) -> None:
    migrate.upgrade(sqlite_url)
    waiting = leases.next_waiting(("", "another"), 3, **how)
    sql = str(waiting.compile(dialect=sqlite.dialect(), compile_kwargs={"literal_binds": True}))
    assert sql.count(f"LIMIT {leases.COMPARED}") == 2, "what is sorted is bounded"
    with Database(sqlite_url).read() as connection:
        plan = plan_of(connection, sql)
    assert plan.count(f"SEARCH job USING INDEX {index} (state=? AND pile=?)") == 2, plan
    assert "SEARCH job USING INDEX sqlite_autoindex_job_1 (id=?)" in plan, plan
    assert "SCAN job" not in plan, plan


def test_piles_are_found_by_jumps_through_an_index(sqlite_url: str) -> None:
    migrate.upgrade(sqlite_url)
    with Database(sqlite_url).read() as connection:
        plan = plan_of(connection, str(piles.PILES_OPEN.text), owner="me")
    assert "SEARCH job USING COVERING INDEX ix_job_oldest (state=? AND pile>?)" in plan, plan
    assert "SCAN job" not in plan, plan


@pytest.mark.parametrize(("times", "is_ready"), [(1, True), (99, False)])
def test_a_file_that_a_disk_fails_to_read_once_is_not_taken_for_damaged(
    ready_sqlite_url: str, monkeypatch: pytest.MonkeyPatch, times: int, is_ready: bool
) -> None:
    monkeypatch.setattr(errors, "_PAUSES_S", (0.0, 0.0))
    current, failed = revision.current, list[Database]()

    def unread(database: Database) -> str | None:
        if len(failed) < times:
            failed.append(database)
            raise StorageDamaged("database disk image is malformed")
        return current(database)

    monkeypatch.setattr(revision, "current", unread)
    if is_ready:
        migrate.ensure_ready(ready_sqlite_url)
        return
    with pytest.raises(OperatorError, match="malformed"):
        migrate.ensure_ready(ready_sqlite_url)
    assert len(failed) == 3
