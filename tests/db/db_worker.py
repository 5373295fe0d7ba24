"""A process of its own for tests: leases and publishes everything it gets, or stops in the middle of a transaction."""

from __future__ import annotations

import sys
import threading

from db_examples import passed
from sqlalchemy import text

from daemon.db import engines
from daemon.db.connection import Database
from daemon.db.repository import Repository


def judge_all(url: str, owner: str) -> None:
    """Publish every job there is from three threads; print each job id as it is leased."""
    repository = Repository(Database(url))
    lock = threading.Lock()

    def work() -> None:
        while (lease := repository.lease_next(owner, 60)) is not None:
            with lock:
                print(lease.job_id, flush=True)
            repository.start(lease)
            repository.publish(lease, passed())

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def stop_inside(url: str, job_id: str) -> None:
    """Change rows, say so, and wait for the end with the transaction open."""
    with Database(url).write() as connection:
        connection.execute(
            text("UPDATE job SET state = 'running', started_at = created_at WHERE id = :id"), {"id": job_id}
        )
        connection.execute(text("DELETE FROM event WHERE job_id = :id"), {"id": job_id})
        print("inside", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    engines.BUSY_TIMEOUT_MS = 300_000
    {"judge_all": judge_all, "stop_inside": stop_inside}[sys.argv[1]](*sys.argv[2:])
