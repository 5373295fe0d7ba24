"""Jobs that one daemon cannot serve and another may, on SQLite and Postgres."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from db_examples import new_job, passed
from sqlalchemy import text

from daemon.db import piles
from daemon.db.connection import Database
from daemon.db.errors import StorageUnavailable
from daemon.db.history import History
from daemon.db.records import AttemptOutcome, Lease
from daemon.db.repository import Repository
from daemon.db.repository_cleanup import cleanup
from daemon.db.repository_daemons import DaemonRepository
from daemon.errors import LostClaim
from daemon.lifecycle import JobState

LEASE_S = 60.0
CPU, GPU = "here-boot-1", "there-boot-2"
WHY = "it requires a GPU, this host has none"


def leased(repository: Repository, owner: str = CPU, **changes: object) -> Lease:
    job = new_job(**changes)
    repository.register(job)
    lease = repository.lease(job.job_id, owner, LEASE_S)
    assert lease is not None
    return lease


def deferred(repository: Repository, **changes: object) -> Lease:
    lease = leased(repository, **changes)
    assert repository.defer(lease, WHY)
    return lease


def test_a_deferred_job_waits_again_and_its_attempt_does_not_count(repository: Repository, history: History) -> None:
    lease = leased(repository)
    repository.start(lease)
    assert repository.defer(lease, WHY)
    job = history.job(lease.job_id)
    assert job is not None
    assert (job.state, job.attempts, job.lease_owner, job.fence) == (JobState.QUEUED, 0, None, lease.fence + 1)
    (attempt,) = history.attempts(lease.job_id)
    assert (attempt.outcome, attempt.number, attempt.reason) == (AttemptOutcome.DEFERRED, None, WHY)
    assert history.events(lease.job_id)[-1].kind == "deferred"


def test_whoever_deferred_a_job_is_passed_over_and_any_other_gets_it(repository: Repository, history: History) -> None:
    lease = deferred(repository)
    assert repository.lease_next(CPU, LEASE_S) is None
    assert (history.waiting_for(CPU, at_most=9), history.waiting_for(GPU, at_most=9)) == (0, 1)
    taken = repository.lease_next(GPU, LEASE_S)
    assert taken is not None
    assert (taken.job_id, taken.attempt) == (lease.job_id, 1)
    assert history.deferrals() == (), "it waits no more"
    assert repository.publish(taken, passed())


def test_a_deferred_job_does_not_hold_up_those_behind_it(repository: Repository, history: History) -> None:
    deferred(repository, priority=9)
    behind = new_job("behind")
    repository.register(behind)
    assert history.waiting_for(CPU, at_most=9) == 1
    lease = repository.lease_next(CPU, LEASE_S)
    assert lease is not None
    assert lease.job_id == behind.job_id


def test_who_deferred_and_why_is_told_in_the_order_of_the_queue(repository: Repository, history: History) -> None:
    low, high = deferred(repository, name="low"), deferred(repository, name="high", priority=5)
    other = repository.lease(low.job_id, GPU, LEASE_S)
    assert other is not None
    repository.defer(other, "it requires H200, this host has L4")
    assert [(one.name, one.host, one.reason) for one in history.deferrals()] == [
        ("high", "here", WHY),
        ("low", "here", WHY),
        ("low", "there", "it requires H200, this host has L4"),
    ]
    assert [one.job_id for one in history.deferrals_of([high.job_id])] == [high.job_id]
    assert len(history.deferrals(limit=2)) == 2


def test_a_job_is_in_the_pile_of_those_who_have_deferred_it_and_of_nobody_else(
    repository: Repository, ready_url: str
) -> None:
    both, one = deferred(repository), leased(repository, owner=GPU)
    assert repository.defer(one, WHY)
    again = repository.lease(both.job_id, GPU, LEASE_S)
    assert again is not None
    assert repository.defer(again, WHY)
    database = Database(ready_url)
    with database.read() as connection:
        found = {row.id: row.pile for row in connection.execute(text("SELECT id, pile FROM job"))}
    database.close()
    assert found == {both.job_id: piles.name_of([CPU, GPU]), one.job_id: piles.name_of([GPU])}


def test_more_piles_than_a_database_joins_at_once_are_all_looked_at(
    repository: Repository, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piles, "_JOINED", 2)
    owners = [f"host{number}-boot-1" for number in range(5)]
    jobs = [leased(repository, owner=owner, name=owner) for owner in owners]
    for lease in jobs:
        repository.defer(lease, WHY)
    repository.register(new_job("plain", priority=-1))
    assert [one.job_id for one in history.deferrals()] == [lease.job_id for lease in jobs]
    taken = [repository.lease_next("another-boot-1", LEASE_S) for _ in range(6)]
    assert [lease.name for lease in taken if lease is not None] == [*owners, "plain"]


def test_who_works_out_the_pile_of_a_job_has_its_row_to_himself(
    ready_postgres_url: str,
) -> None:
    """On SQLite there is one who writes. Who forgets a daemon would else be undone by who defers at that moment."""
    database = Database(ready_postgres_url)
    lease, other = leased(Repository(database)), leased(Repository(database))
    lock = text("SELECT id FROM job WHERE id = :job_id FOR UPDATE NOWAIT")
    with database.write() as connection:
        piles.joined_by(connection, lease.job_id, CPU)
        with pytest.raises(StorageUnavailable, match="could not obtain lock"), database.write() as another:
            another.execute(lock, {"job_id": lease.job_id})
        with database.write() as another:
            another.execute(lock, {"job_id": other.job_id})
    database.close()


def test_deferring_again_changes_nothing(repository: Repository, history: History) -> None:
    lease = deferred(repository)
    before, events = history.job(lease.job_id), history.events(lease.job_id)
    assert not repository.defer(lease, "another reason")
    assert (history.job(lease.job_id), history.events(lease.job_id)) == (before, events)
    assert [one.reason for one in history.deferrals()] == [WHY]


def test_a_fault_told_after_a_deferral_whose_answer_was_lost_costs_no_attempt(
    repository: Repository, history: History
) -> None:
    lease = deferred(repository)
    assert repository.retry(lease, "the database did not answer") is JobState.QUEUED
    job = history.job(lease.job_id)
    assert job is not None
    assert job.attempts == 0


def test_a_lease_that_no_longer_counts_defers_nothing(repository: Repository, history: History) -> None:
    lease = leased(repository)
    repository.withdraw(lease)
    with pytest.raises(LostClaim):
        repository.defer(lease, WHY)
    done = leased(repository)
    repository.publish(done, passed())
    with pytest.raises(LostClaim):
        repository.defer(done, WHY)
    assert history.deferrals() == ()


@pytest.mark.parametrize("ending", ["forgotten", "stopped"])
def test_a_deferral_ends_with_its_daemon(
    repository: Repository, daemons: DaemonRepository, history: History, ending: str
) -> None:
    lease = deferred(repository)
    other = repository.lease(lease.job_id, GPU, LEASE_S)
    assert other is not None
    repository.defer(other, WHY)
    if ending == "forgotten":
        daemons.forget([CPU])
    else:
        daemons.mark_stopped(CPU)
    assert [one.owner for one in history.deferrals()] == [GPU]
    assert repository.lease_next(GPU, LEASE_S) is None
    assert repository.lease_next(CPU, LEASE_S) is not None


def test_a_bundle_that_comes_back_from_the_inbox_is_looked_at_anew(repository: Repository, history: History) -> None:
    job = new_job()
    repository.register(job)
    lease = repository.lease(job.job_id, CPU, LEASE_S)
    assert lease is not None
    repository.defer(lease, WHY)
    repository.withdraw(job.job_id)
    assert history.deferrals() == ()
    repository.register(job)
    again = repository.lease_next(CPU, LEASE_S)
    assert again is not None
    assert again.attempt == 1
    assert repository.defer(again, WHY)


def test_a_job_of_two_slots_of_one_daemon_may_be_deferred_twice(repository: Repository, history: History) -> None:
    lease = deferred(repository)
    again = repository.lease(lease.job_id, CPU, LEASE_S)
    assert again is not None
    assert repository.defer(again, "still none")
    assert [one.reason for one in history.deferrals()] == ["still none"]


def test_cleanup_takes_the_deferrals_of_a_job_with_it(repository: Repository, database: Database) -> None:
    deferred(repository)
    taken = repository.lease_next(GPU, LEASE_S)
    assert taken is not None
    repository.publish(taken, passed())
    assert cleanup(database, timedelta(0), keep_best=0).job_ids == (taken.job_id,)
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM deferral")) == 0


def test_slots_of_a_mixed_fleet_share_the_queue_without_losing_or_doubling(
    repository: Repository, history: History
) -> None:
    """Every second job only the host with the GPU can serve; all slots work at once."""
    jobs = [new_job(name) for name in ("any", "gpu") * 15]
    for job in jobs:
        repository.register(job)

    def work(owner: str) -> list[tuple[str, str]]:
        served = []
        while (lease := repository.lease_next(owner, LEASE_S)) is not None:
            if owner == CPU and lease.name == "gpu":
                repository.defer(lease, WHY)
                continue
            assert repository.publish(lease, passed())
            served.append((lease.job_id, lease.name))
        return served

    with ThreadPoolExecutor(4) as pool:
        by_cpu = [pool.submit(work, CPU) for _ in range(2)]
        by_gpu = [pool.submit(work, GPU) for _ in range(2)]
    served = [one for slot in (*by_cpu, *by_gpu) for one in slot.result()]
    served += work(GPU)  # what a slot of the other host deferred just after ours had found nothing
    assert sorted(job_id for job_id, _ in served) == sorted(job.job_id for job in jobs)
    assert {name for slot in by_cpu for _, name in slot.result()} <= {"any"}
    assert history.counts_by_state()[JobState.FINISHED] == len(jobs)


def test_a_job_that_is_deferred_every_minute_does_not_fill_the_database(
    repository: Repository, history: History
) -> None:
    first = deferred(repository)
    for sweep in range(5):
        lease = repository.lease_next(f"sweep-{sweep}", LEASE_S)
        assert lease is not None
        assert repository.defer(lease, WHY)
    (attempt,) = history.attempts(first.job_id)
    assert (attempt.owner, attempt.outcome) == ("sweep-4", AttemptOutcome.DEFERRED)
    assert not repository.defer(lease, WHY), "the newest is still known when its reply was lost"


def pile_of(database: Database, job_id: str) -> str:
    with database.read() as connection:
        return str(connection.scalar(text("SELECT pile FROM job WHERE id = :id"), {"id": job_id}))


def test_jobs_that_the_same_daemons_have_deferred_are_one_pile(
    repository: Repository, daemons: DaemonRepository, database: Database
) -> None:
    first, second = deferred(repository), deferred(repository)
    assert pile_of(database, first.job_id) == pile_of(database, second.job_id) == piles.name_of([CPU])
    other = repository.lease(second.job_id, GPU, LEASE_S)
    assert other is not None
    repository.defer(other, WHY)
    assert pile_of(database, second.job_id) == piles.name_of([GPU, CPU]) != pile_of(database, first.job_id)
    daemons.forget([CPU])
    assert pile_of(database, second.job_id) == piles.name_of([GPU])
    assert pile_of(database, first.job_id) == piles.NOBODY
    repository.withdraw(second.job_id)
    assert pile_of(database, second.job_id) == piles.NOBODY


def test_a_job_held_while_its_deferrer_leaves_is_leased_again_when_it_comes_back(
    repository: Repository, daemons: DaemonRepository
) -> None:
    lease = deferred(repository)
    held = repository.lease(lease.job_id, GPU, LEASE_S)
    assert held is not None
    daemons.mark_stopped(CPU)
    repository.retry(held, "the judge died")
    assert repository.lease_next(CPU, LEASE_S) is not None


def test_more_than_fit_one_transaction_are_forgotten(
    repository: Repository, daemons: DaemonRepository, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(piles, "FORGOTTEN_AT_ONCE", 2)
    for _ in range(5):
        deferred(repository)
    daemons.mark_stopped(CPU)
    assert history.waiting_for(CPU, at_most=99) == 5
    assert history.deferrals() == ()


def test_the_order_of_leases_holds_across_piles(repository: Repository) -> None:
    """What another daemon has deferred comes before and after what nobody has, as its priority says."""
    middle = new_job("middle", priority=1)
    deferred(repository, name="urgent", priority=2)
    deferred(repository, name="patient", priority=0)
    repository.register(middle)
    leases = [repository.lease_next(GPU, LEASE_S) for _ in range(3)]
    assert [lease.name for lease in leases if lease is not None] == ["urgent", "middle", "patient"]


def test_waiting_jobs_are_counted_no_further_than_asked(repository: Repository, history: History) -> None:
    for _ in range(3):
        repository.register(new_job())
    deferred(repository)
    assert [history.waiting_for(CPU, at_most=count) for count in (1, 3, 9)] == [1, 3, 3]
    assert history.waiting_for(GPU, at_most=9) == 4


def test_daemons_may_leave_while_others_defer(
    repository: Repository, daemons: DaemonRepository, history: History
) -> None:
    """Whoever has left is in no pile, whatever was deferred at the same moment."""
    jobs = [new_job() for _ in range(12)]
    for job in jobs:
        repository.register(job)

    def defer_all(owner: str) -> None:
        while (lease := repository.lease_next(owner, LEASE_S)) is not None:
            repository.defer(lease, WHY)

    def leave(owner: str) -> None:
        for _ in range(5):
            daemons.mark_stopped(owner)

    with ThreadPoolExecutor(3) as pool:
        for work in [pool.submit(defer_all, CPU), pool.submit(defer_all, GPU), pool.submit(leave, "third-boot-3")]:
            work.result()
    defer_all(CPU)
    defer_all(GPU)
    with ThreadPoolExecutor(2) as pool:
        for work in [pool.submit(leave, CPU), pool.submit(defer_all, "late-boot-4")]:
            work.result()
    assert history.waiting_for(CPU, at_most=99) == len(jobs)
    assert history.waiting_for(GPU, at_most=99) == 0
