"""A long history: what questions and bundles cost with so many finished jobs in the database.

    python bench/history.py [--jobs 0 100000 1000000] [--db sqlite postgres] [--rounds 7]

The same database grows from one length to the next. At each, the questions behind the commands are asked in this
process, the commands are run as processes of their own, and bundles go through everything that the database is told
about one: registered, leased, described, started, published. The targets: `stats` under 1 s, `status NAME` under
100 ms (the question; the process adds its imports, bench/startup.py), and a bundle's cost that does not grow.

Postgres is started as the tests start it: without fsync and with little memory. Compare lengths, not databases.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import daemons
import past

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from postgres_server import running as postgres

from daemon.cli import store
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.records import Description, NewJob, Published
from daemon.db.repository import Repository
from daemon.db.statistics import GroupBy
from daemon.evaluation import CaseEvaluation, Environment, Evaluation
from daemon.lifecycle import JobState
from daemon.verdict import Phase, Verdict

NAME = "kernel77"
PROBLEM = "problem77"
ENDED = (JobState.FINISHED, JobState.BROKEN)


@contextmanager
def database_url(kind: str) -> Iterator[str]:
    if kind == "sqlite":
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/evald.sqlite3"
        return
    with postgres() as server:
        yield server.create_database()


def questions(history: History) -> dict[str, Callable[[], object]]:
    found: dict[str, Callable[[], object]] = {
        "status NAME": lambda: store.find(history, NAME),
        "status NAME, nobody knows it": lambda: store.find(history, "nobody"),
        "status JOB, by eight digits": lambda: history.job("00000000"[:7] + "f"),
        "status: jobs by state": history.counts_by_state,
        "status: ended last": lambda: history.jobs(state=ENDED, limit=10),
        "status: being judged": lambda: history.jobs(state=(JobState.CLAIMED, JobState.RUNNING), limit=100),
        "jobs, newest 50": history.jobs,
        "jobs of one name": lambda: history.jobs(name=NAME),
        "jobs of one problem": lambda: history.jobs(problem=PROBLEM),
        "jobs of one verdict": lambda: history.jobs(verdict=Verdict.PASSED),
        "jobs of a verdict nobody got": lambda: history.jobs(verdict=Verdict.TIMEOUT),
        "jobs with a label nobody has": lambda: history.jobs(label=("team", "a")),
        "stats --problem": lambda: history.leaderboard(PROBLEM, limit=30),
        "health: ended last": history.last_finished_at,
        "metrics: the last hour": lambda: history.activity(timedelta(hours=1)),
        "quota: unfinished by submitter": history.unfinished_by_submitter,
    }
    many = (GroupBy.NAME, GroupBy.PROBLEM)  # of these the command asks for one line more than it shows
    found |= {
        f"stats --by {by}": lambda by=by: history.stats(by=by, limit=31 if by in many else None) for by in GroupBy
    }
    return found | {"stats --by name --json, every name": lambda: history.stats(by=GroupBy.NAME)}


def ask(history: History, rounds: int) -> None:
    for what, question in questions(history).items():
        question()
        daemons.row(f"  {what}, ms", [daemons.timed_ms(question) for _ in range(rounds)])


def run_commands(url: str, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "inbox").mkdir()
        environment = {**os.environ, "EVALD_HOME": home, "EVALD_DATABASE": url}
        for argv in (["stats"], ["status", NAME], ["status"]):

            def run(argv: list[str] = argv) -> None:
                done = subprocess.run([*daemons.EVALD, *argv], env=environment, capture_output=True, check=False)
                assert done.returncode in (0, 2), done.stderr

            daemons.row(f"  evald {' '.join(argv)}, the process, ms", [daemons.timed_ms(run) for _ in range(rounds)])


def one_bundle(repository: Repository, history: History) -> None:
    """Everything that the database is told about one bundle, and asked by the daemon meanwhile."""
    job_id = uuid.uuid4().hex
    now = datetime.now(UTC)
    repository.register(NewJob(job_id, f"new{job_id}", job_id, 1000, now, 2000))
    history.waiting_for("bench-boot-1", at_most=64)
    lease = repository.lease_next("bench-boot-1", 60, (1000,))
    assert lease is not None
    repository.describe(lease.job_id, Description("evaluate", "torch", problem=PROBLEM, contract_json="{}" * 500))
    repository.start(lease)
    case = CaseEvaluation(name="default", verdict=Verdict.PASSED, phase=Phase.REPORT, compiled=True, correctness=True)
    ran = Environment(device="cpu", isolation="bench")
    evaluation = Evaluation(verdict=Verdict.PASSED, phase=Phase.REPORT, cases=(case,), environment=ran, evaluate_ms=1.0)
    repository.publish(lease, Published(evaluation, {"filler": "0" * 1000}))


def measure(url: str, kind: str, lengths: list[int], rounds: int) -> None:
    migrate.ensure_ready(url)
    database = Database(url)
    repository, history = Repository(database), History(database)
    low = 0
    for length in lengths:
        past.extend(database, low, length)
        past.settle(database)
        low = length
        print(f"{kind}, {length} jobs")
        ask(history, rounds)
        run_commands(url, 3)
        for _ in range(20):
            one_bundle(repository, history)
        bundles = [daemons.timed_ms(lambda: one_bundle(repository, history)) for _ in range(200)]
        daemons.row("  one bundle, all that the database is told, ms", bundles)
    database.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="A long history.")
    parser.add_argument("--jobs", type=int, nargs="+", default=[0, 100_000, 1_000_000])
    parser.add_argument("--db", choices=["sqlite", "postgres"], nargs="+", default=["sqlite", "postgres"])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    print(daemons.machine())
    print(daemons.HEADER)
    for kind in arguments.db:
        with database_url(kind) as url:
            measure(url, kind, sorted(arguments.jobs), arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
