"""A whole history copied into a new database, of the same kind or the other one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from db_examples import new_job, passed
from sqlalchemy import select, text

from daemon.db import copying, migrate
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.models import Base
from daemon.db.repository import Repository
from daemon.db.repository_daemons import DaemonRepository
from daemon.errors import OperatorError
from daemon.lifecycle import JobState

pytestmark = pytest.mark.parametrize("earlier", ["0005"])


@pytest.fixture(params=["sqlite", "postgres"])
def new_url(request: pytest.FixtureRequest, postgres: Any, tmp_path: Path) -> str:
    made: str = postgres.create_database() if request.param == "postgres" else f"sqlite:///{tmp_path / 'new.sqlite3'}"
    return made


@pytest.fixture
def original_url(thawed: str) -> str:
    """A database with rows in every table, and a job that a daemon was judging when it was killed."""
    migrate.upgrade(thawed)
    database = Database(thawed)
    DaemonRepository(database).drain("gpu1")
    database.close()
    return thawed


def contents(url: str) -> dict[str, list[Any]]:
    """Every row of every table."""
    database = Database(url)
    with database.read() as connection:
        found = {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in Base.metadata.sorted_tables
        }
    database.close()
    return found


def test_the_copy_holds_every_row_and_is_the_same_database(original_url: str, new_url: str) -> None:
    before = contents(original_url)
    assert [name for name, rows in before.items() if not rows] == []
    counts = copying.copy(original_url, new_url)
    assert contents(new_url) == contents(original_url) == before
    assert counts == {name: len(rows) for name, rows in before.items()}


def test_the_copy_goes_on_where_the_original_was(original_url: str, new_url: str) -> None:
    copying.copy(original_url, new_url)
    copy = Database(new_url)
    repository, history = Repository(copy), History(copy)
    assert [job.name for job in repository.abandon("host-boot-1")] == ["running"]
    for job in (new_job("next"), new_job("after")):
        lease = repository.register_leased(job, "me", 60)
        assert lease is not None
        repository.start(lease)
        assert repository.publish(lease, passed())
        found = history.job(job.job_id)
        assert found is not None
        assert found.state is JobState.FINISHED
        assert len(history.evaluations(job.job_id)[0].samples) > 0
    copy.close()


def test_the_copy_is_one_state_of_an_original_that_changes_meanwhile(
    original_url: str, new_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, original = contents(original_url), Database(original_url)
    copied = copying._copied

    def meanwhile(*args: Any) -> int:
        count = copied(*args)
        assert Repository(original).register(new_job())
        return count

    monkeypatch.setattr(copying, "_copied", meanwhile)
    copying.copy(original_url, new_url)
    assert contents(new_url) == before
    original.close()


def test_nothing_is_copied_into_what_is_in_use(original_url: str, new_url: str) -> None:
    migrate.upgrade(new_url)
    database = Database(new_url)
    assert Repository(database).register(new_job())
    database.close()
    before = contents(new_url)
    for target in (new_url, original_url):
        with pytest.raises(OperatorError, match="is in use: its table bundle has rows"):
            copying.copy(original_url, target)
    assert contents(new_url) == before


def test_a_database_is_not_copied_into_itself_by_whatever_name(new_url: str, earlier: str) -> None:
    migrate.upgrade(new_url)
    before = contents(new_url)
    by_another_name = f"{new_url}{'&application_name=x' if 'host=' in new_url else ''}"
    with pytest.raises(OperatorError, match="is the very database that the settings name"):
        copying.copy(new_url, by_another_name)
    assert contents(new_url) == before


def test_nothing_is_copied_from_beside_a_daemon(original_url: str, new_url: str) -> None:
    database = Database(original_url)
    with database.write() as connection:
        connection.execute(text("UPDATE daemon SET lease_s = 1e9, state = 'running'"))
    database.close()
    with pytest.raises(OperatorError, match=r"daemons use database \S+: \S+ \(pid \d+\)") as refused:
        copying.copy(original_url, new_url)
    assert "--force" not in str(refused.value.hint)
    assert contents(new_url)["job"] == []


def test_an_original_of_an_earlier_schema_or_none_is_refused(thawed: str, new_url: str, tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="schema revision 0005"):
        copying.copy(thawed, new_url)
    with pytest.raises(OperatorError, match="no database at"):
        copying.copy(f"sqlite:///{tmp_path / 'missing.sqlite3'}", new_url)
