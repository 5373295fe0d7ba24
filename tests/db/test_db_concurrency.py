"""Many threads, several processes, sudden death: every job once, and a database that is always whole."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from db_examples import new_job, passed, wrong
from sqlalchemy import text

from daemon.db import engines
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.records import Lease
from daemon.db.repository import Repository
from daemon.errors import LostClaim
from daemon.lifecycle import JobState

WORKER = Path(__file__).parent / "db_worker.py"
JOBS = 60
PROCESSES = 3
THREADS = 8
LIMIT_S = 300


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite lets its writers wait in no order: on a busy machine some for longer than a daemon waits at once."""
    monkeypatch.setattr(engines, "BUSY_TIMEOUT_MS", LIMIT_S * 1000)


def start_worker(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WORKER), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_threads_lease_each_job_once(repository: Repository) -> None:
    jobs = [new_job() for _ in range(JOBS)]
    for job in jobs:
        repository.register(job)
    ready = threading.Barrier(THREADS)

    def take(number: int) -> list[Lease]:
        ready.wait(LIMIT_S)
        taken = []
        while (lease := repository.lease_next(f"thread-{number}", 60)) is not None:
            taken.append(lease)
        return taken

    with ThreadPoolExecutor(THREADS) as pool:
        taken = [lease for leases in pool.map(take, range(THREADS)) for lease in leases]
    assert Counter(lease.job_id for lease in taken) == Counter(job.job_id for job in jobs)


def test_processes_lease_and_publish_each_job_once(ready_url: str, repository: Repository, history: History) -> None:
    jobs = [new_job() for _ in range(JOBS)]
    for job in jobs:
        repository.register(job)
    workers = [start_worker("judge_all", ready_url, f"process-{number}") for number in range(PROCESSES)]
    leased: list[str] = []
    for worker in workers:
        out, _ = worker.communicate(timeout=LIMIT_S)
        assert worker.returncode == 0
        leased += out.split()
    assert Counter(leased) == Counter(job.job_id for job in jobs)
    assert history.counts_by_state()[JobState.FINISHED] == JOBS
    assert all(len(history.evaluations(job.job_id)) == 1 for job in jobs)


def test_of_many_callers_for_one_job_one_gets_it(repository: Repository) -> None:
    job = new_job()
    repository.register(job)
    ready = threading.Barrier(THREADS)

    def take(number: int) -> Lease | None:
        ready.wait(LIMIT_S)
        return repository.lease(job.job_id, f"thread-{number}", 60)

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(lease is not None for lease in pool.map(take, range(THREADS))) == 1


def test_of_many_who_register_one_job_one_does(repository: Repository) -> None:
    job = new_job()
    ready = threading.Barrier(THREADS)

    def put(_number: int) -> bool:
        ready.wait(LIMIT_S)
        return repository.register(job)

    with ThreadPoolExecutor(THREADS) as pool:
        assert sum(pool.map(put, range(THREADS))) == 1


def test_a_publication_that_races_with_expiry_has_one_winner(
    repository: Repository, database: Database, history: History
) -> None:
    for _ in range(10):
        job = new_job()
        repository.register(job)
        lease = repository.lease(job.job_id, "slow", 60)
        assert lease is not None
        with database.write() as connection:
            connection.execute(
                text("UPDATE job SET lease_until = '2020-01-01 00:00:00.000000' WHERE state = 'claimed'")
            )
        ready = threading.Barrier(2)

        def publish(lease: Lease = lease, ready: threading.Barrier = ready) -> bool:
            ready.wait(LIMIT_S)
            try:
                return repository.publish(lease, passed())
            except LostClaim:
                return False

        def expire(ready: threading.Barrier = ready) -> bool:
            ready.wait(LIMIT_S)
            return len(repository.expire()) == 1

        with ThreadPoolExecutor(2) as pool:
            published, expired = pool.submit(publish), pool.submit(expire)
        assert published.result() != expired.result()
        found = history.job(job.job_id)
        assert found is not None
        assert found.state is (JobState.FINISHED if published.result() else JobState.QUEUED)
        assert len(history.evaluations(job.job_id)) == published.result()
        repository.withdraw(job.job_id) if expired.result() else None


def test_equal_environments_published_at_once_are_one_row(repository: Repository, database: Database) -> None:
    leases = []
    for _ in range(THREADS):
        job = new_job()
        repository.register(job)
        leases.append(repository.lease(job.job_id, "me", 60))
    ready = threading.Barrier(THREADS)

    def publish(lease: Lease) -> bool:
        ready.wait(LIMIT_S)
        return repository.publish(lease, wrong())

    with ThreadPoolExecutor(THREADS) as pool:
        assert all(pool.map(publish, [lease for lease in leases if lease is not None]))
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM environment")) == 1


@pytest.mark.parametrize("repetition", range(2))
def test_a_process_killed_inside_a_transaction_leaves_nothing_behind(
    ready_url: str, repository: Repository, database: Database, history: History, repetition: int
) -> None:
    job = new_job()
    repository.register(job)
    lease = repository.lease(job.job_id, "me", 60)
    assert lease is not None
    before, events = history.job(job.job_id), history.events(job.job_id)
    worker = start_worker("stop_inside", ready_url, job.job_id)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "inside\n"
    worker.kill()
    worker.communicate(timeout=LIMIT_S)
    assert (history.job(job.job_id), history.events(job.job_id)) == (before, events)
    assert repository.publish(lease, passed()), "the dead process holds no lock"
    if database.is_sqlite:
        with database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"


def test_registering_goes_on_while_another_connection_reads(repository: Repository, database: Database) -> None:
    with database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM job")) == 0
        assert repository.register(new_job())
