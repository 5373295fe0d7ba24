"""Questions about a long history are looked up, never worked out from all of it: what SQLite says it would do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from db_examples import new_job, passed, wrong
from sqlalchemy import event, text

from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.repository import Repository
from daemon.db.repository_daemons import DaemonRepository
from daemon.db.statistics import GroupBy
from daemon.lifecycle import JobState
from daemon.verdict import Verdict

ENDED = (JobState.FINISHED, JobState.BROKEN)
Ask = Callable[[Callable[[History], object]], str]


@pytest.fixture
def ask(sqlite_url: str) -> Iterator[Ask]:
    """How SQLite answers every statement behind a question, one line each."""
    migrate.upgrade(sqlite_url)
    database = Database(sqlite_url)
    seen: list[tuple[str, object]] = []

    def note(_connection: object, _cursor: object, statement: str, given: object, *_rest: object) -> None:
        if not statement.startswith("EXPLAIN"):
            seen.append((statement, given))

    def plans(question: Callable[[History], object]) -> str:
        seen.clear()
        question(History(database))
        with database.read() as connection:
            found = [
                " / ".join(row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", given))
                for statement, given in list(seen)
                if statement.startswith(("SELECT", "WITH", "UPDATE", "DELETE"))
            ]
        assert found
        return "\n".join(found)

    event.listen(database._engine, "before_cursor_execute", note)
    yield plans
    database.close()


def test_the_newest_jobs_of_two_states_are_taken_from_the_index_of_each(ask: Ask) -> None:
    plan = ask(lambda history: history.jobs(state=ENDED, limit=10))
    assert plan.count("SEARCH job USING COVERING INDEX ix_job_state (state=?)") == 2
    assert "SCAN job" not in plan


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        ({}, "ix_job_created_at"),
        ({"state": JobState.QUEUED}, "ix_job_state"),
        ({"verdict": Verdict.TIMEOUT}, "ix_job_verdict"),
        ({"name": "a", "verdict": Verdict.TIMEOUT}, "ix_job_name"),
        ({"problem": "a", "verdict": Verdict.TIMEOUT}, "ix_job_problem"),
        ({"name": "a", "state": JobState.FINISHED}, "ix_job_name"),
    ],
)
def test_a_list_of_jobs_comes_in_the_order_of_an_index(ask: Ask, wanted: dict[str, object], index: str) -> None:
    plan = ask(lambda history: history.jobs(**wanted))  # type: ignore[arg-type]
    assert f"USING INDEX {index}" in plan
    assert "TEMP B-TREE" not in plan


def test_the_newest_of_a_name_is_looked_up_whoever_gave_it(ask: Ask) -> None:
    plan = ask(lambda history: history.newest("a", ("a", "a.json", "a.tar")))
    assert plan.count("ix_job_name (name=?)") == 1
    assert plan.count("ix_bundle_dropped_name (dropped_name=?)") == 3
    assert "SCAN job" not in plan and "SCAN bundle" not in plan


def test_what_was_done_lately_is_found_by_when_it_ended(ask: Ask) -> None:
    plan = ask(lambda history: history.activity(timedelta(hours=1)))
    about_jobs = [line for line in plan.splitlines() if "job" in line]
    assert len(about_jobs) >= 8
    for line in about_jobs:
        assert "ix_job_stats_finished_at (finished_at>?)" in line, line
        assert "SCAN attempt" not in line, line


def test_a_leaderboard_looks_at_the_passed_jobs_of_its_problem_only(ask: Ask) -> None:
    plan = ask(lambda history: history.leaderboard("p"))
    assert "ix_job_stats_problem (problem=? AND verdict=?" in plan


@pytest.mark.parametrize("by", GroupBy)
def test_figures_come_from_an_index_and_never_from_the_table(ask: Ask, by: GroupBy) -> None:
    plan = ask(lambda history: history.stats(by=by))
    assert "job USING COVERING INDEX ix_job_stats_" in plan


def test_forgetting_a_few_deferrals_touches_a_few_rows(ask: Ask) -> None:
    def forget(history: History) -> None:
        repository = Repository(history._database)
        job = new_job()
        repository.register(job)
        lease = repository.lease(job.job_id, "me", 60)
        assert lease is not None
        repository.defer(lease, "no such device")
        DaemonRepository(history._database).mark_stopped("me")

    plan = ask(forget).splitlines()
    by_owner = [line for line in plan if "ix_deferral_owner" in line]
    assert by_owner == ["SEARCH deferral USING INDEX ix_deferral_owner (owner=?)"], "the question which jobs they are"
    assert not [line for line in plan if "ix_job_state" in line or "SCAN" in line], plan


def test_some_groups_are_the_first_of_all_groups(repository: Repository, history: History) -> None:
    for problem, count in (("rare", 1), ("common", 3), ("some", 2), (None, 2)):
        for _ in range(count):
            job = new_job(problem or "none")
            repository.register(job)
            lease = repository.lease(job.job_id, "me", 60)
            assert lease is not None
            repository.publish(lease, passed() if count > 1 else wrong())
            if problem is not None:
                with history._database.write() as connection:
                    values = {"problem": problem, "id": job.job_id}
                    connection.execute(text("UPDATE job SET problem = :problem WHERE id = :id"), values)
    for by in GroupBy:
        every = history.stats(by=by)
        for limit in (1, 2, 3, 10):
            assert history.stats(by=by, limit=limit) == every[:limit]
    largest = [row.key for row in history.stats(by="problem", limit=3)]
    assert largest[0] == "common"
    assert None in largest


def test_states_are_counted_as_asked(repository: Repository, history: History) -> None:
    repository.register(new_job())
    assert history.counts_by_state((JobState.QUEUED, JobState.RUNNING)) == {JobState.QUEUED: 1, JobState.RUNNING: 0}
