"""The documentation of the database holds, on SQLite and Postgres."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from db_examples import new_job, passed, wrong
from sqlalchemy import inspect, text

from daemon.db.connection import Database
from daemon.db.errors import StorageRefused, StorageUnavailable
from daemon.db.models import Base
from daemon.db.records import Description, Published
from daemon.db.repository import Repository
from daemon.evaluation import Evaluation
from daemon.verdict import Phase, Verdict

DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "database.md"


def examples() -> list[str]:
    return re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)


@pytest.fixture
def filled(repository: Repository, database: Database) -> Database:
    """A job that passed twice, one that is wrong, one rejected, one retried and being judged, one waiting, one waiting
    for a device.
    """
    for told in (passed(), passed(mean_ms=0.75), wrong()):
        job = new_job()
        repository.register(job)
        repository.describe(job.job_id, Description("compare", "cuda", "torch", problem="add", source_sha256="a" * 64))
        lease = repository.lease(job.job_id, "me", 60)
        assert lease is not None
        repository.publish(lease, told)
    rejected = new_job("torn")
    lease = repository.register_leased(rejected, "me", 60)
    assert lease is not None
    answer = Evaluation(verdict=Verdict.REJECTED, phase=Phase.INTAKE, message="no contract.json")
    repository.publish(lease, Published(answer, {}))
    retried = new_job("unlucky")
    repository.register(retried)
    lease = repository.lease(retried.job_id, "me", 60)
    assert lease is not None
    repository.retry(lease, "the judge died")
    repository.lease(retried.job_id, "me", 60)
    repository.register(new_job("waiting"))
    unserved = new_job("unserved")
    repository.register(unserved)
    lease = repository.lease(unserved.job_id, "me", 60)
    assert lease is not None
    repository.defer(lease, "it requires a GPU")
    return database


def test_there_are_examples() -> None:
    assert len(examples()) >= 10


@pytest.mark.parametrize("number", range(len(examples())))
def test_every_example_runs_and_all_but_one_find_something(filled: Database, number: int) -> None:
    sql = examples()[number]
    with filled.read() as connection:
        found = connection.execute(text(sql.strip().rstrip(";"))).all()
    assert bool(found) != ("isolation = 'none'" in sql), sql


def test_an_example_with_a_wrong_column_would_be_noticed(filled: Database) -> None:
    with pytest.raises((StorageRefused, StorageUnavailable)), filled.read() as connection:
        connection.execute(text("SELECT runtime_us FROM results"))


def test_the_view_has_exactly_the_documented_columns(database: Database) -> None:
    table = DOCUMENT.read_text("utf-8").partition("## The view")[2].partition("```sql")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]
    with database.read() as connection:
        columns = [column["name"] for column in inspect(connection).get_columns("results")]
    assert sorted(documented) == sorted(columns)


def test_every_table_is_documented() -> None:
    section = DOCUMENT.read_text("utf-8").partition("## The tables")[2]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == set(Base.metadata.tables)


def test_a_case_is_a_row_and_unfinished_jobs_are_not(filled: Database) -> None:
    with filled.read() as connection:
        found = connection.execute(
            text(
                "SELECT name, job_verdict, verdict, message, correct, runtime_ms, isolation "
                "FROM results ORDER BY name, job_verdict, runtime_ms"
            )
        ).all()
    assert [tuple(row) for row in found] == [
        ("torn", "rejected", "rejected", "no contract.json", None, None, None),
        ("vec_add", "passed", "passed", None, True, 0.5, "bubblewrap"),
        ("vec_add", "passed", "passed", None, True, 0.75, "bubblewrap"),
        ("vec_add", "wrong_answer", "wrong_answer", "outputs differ", False, None, "bubblewrap"),
    ]
