"""Jobs that wait for a device nobody has: what a lease costs behind so many of them.

    python bench/deferred.py [--deferred 0 1000 100000] [--db sqlite postgres] [--rounds 20]

Every deferred job was given back by the daemon that asks. Beside its leases: those of a daemon that could serve them
all, which has them as its queue, and what happens when the daemon that deferred them leaves. A lease must cost the
same however many there are.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

import daemons
import past
from history import database_url
from sqlalchemy import text

from daemon.db import migrate, piles
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.records import NewJob
from daemon.db.repository import Repository
from daemon.db.repository_daemons import DaemonRepository

MINE, OTHER = "without-boot-1", "with-boot-2"
_ROWS = (
    "INSERT INTO bundle (id, dropped_name, submitter_uid, dropped_at, size_bytes) VALUES (:id, :name, 1000, :at, 2000)",
    "INSERT INTO job (id, name, labels, submitter_uid, priority, state, fence, attempts, work_name, pile, dropped_at, "
    "created_at) VALUES (:id, :name, '{}', 1000, 0, 'queued', 2, 0, :name, :pile, :at, :since)",
    "INSERT INTO deferral (job_id, owner, reason, at) VALUES (:id, :owner, 'it requires a GPU', :at)",
)


def defer(database: Database, count: int) -> None:
    pile = piles.name_of([MINE])
    now = datetime.now(UTC)
    at = str(now.replace(tzinfo=None)) if database.is_sqlite else now
    ids = [uuid.uuid4().hex for _ in range(count)]
    values = [{"id": one, "name": one, "pile": pile, "owner": MINE, "at": at, "since": at} for one in ids]
    with database.write() as connection:
        for statement in _ROWS if values else ():
            connection.execute(text(statement), values)


def lease(repository: Repository, owner: str, **how: bool) -> Callable[[], object]:
    """A lease that is given back: the same job again next time."""

    def once() -> None:
        found = repository.lease_next(owner, 60, (1000,), **how)
        if found is not None:
            repository.withdraw(found)

    return once


def one_bundle(repository: Repository) -> None:
    job_id = uuid.uuid4().hex
    repository.register(NewJob(job_id, job_id, job_id, 1000, datetime.now(UTC), 2000))
    found = repository.lease_next(MINE, 60, (1000,))
    assert found is not None
    assert found.job_id == job_id
    repository.withdraw(found)


def measure(url: str, kind: str, count: int, rounds: int) -> None:
    migrate.ensure_ready(url)
    database = Database(url)
    repository, history = Repository(database), History(database)
    defer(database, count)
    past.settle(database)
    print(f"{kind}, {count} deferred jobs")
    questions: dict[str, Callable[[], object]] = {
        "lease by who deferred them: nothing to do": lambda: repository.lease_next(MINE, 60, (1000,)),
        "the same, the oldest's turn": lambda: repository.lease_next(MINE, 60, (1000,), oldest=True),
        "a new bundle: registered, leased, withdrawn": lambda: one_bundle(repository),
        "how many wait, for claiming ahead": lambda: history.waiting_for(MINE, at_most=64),
        "lease by who can serve them, withdrawn": lease(repository, OTHER),
        "status: why jobs wait": lambda: history.deferrals(limit=100),
    }
    for what, question in questions.items():
        question()
        daemons.row(f"  {what}, ms", [daemons.timed_ms(question) for _ in range(rounds)])
    daemons.row(
        "  who deferred them leaves, ms", [daemons.timed_ms(lambda: DaemonRepository(database).mark_stopped(MINE))]
    )
    database.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Deferred jobs.")
    parser.add_argument("--deferred", type=int, nargs="+", default=[0, 1000, 100_000])
    parser.add_argument("--db", choices=["sqlite", "postgres"], nargs="+", default=["sqlite", "postgres"])
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    print(daemons.machine())
    print(daemons.HEADER)
    for kind in arguments.db:
        for count in arguments.deferred:
            with database_url(kind) as url:
                measure(url, kind, count, arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
