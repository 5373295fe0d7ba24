"""Write `frozen/REVISION.*`: a database of the revision this code knows, with rows in every table that matters.

`python tests/db/db_freeze.py`, once, before the next revision is written. Frozen files never change afterwards.
"""

from __future__ import annotations

import gzip
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import postgres_server
from db_examples import new_job, passed, wrong

from daemon.db import migrate, repository_rows, revision
from daemon.db.connection import Database
from daemon.db.daemon_records import DaemonNote
from daemon.db.records import Description, Lease, NewJob, Published
from daemon.db.repository import Repository
from daemon.db.repository_daemons import DaemonRepository
from daemon.evaluation import Evaluation
from daemon.verdict import Phase, Verdict

FROZEN = Path(__file__).parent / "frozen"


def fill(url: str) -> None:
    """A job in every state, one of them deferred; a daemon, and a drained host."""
    migrate.upgrade(url)
    database = Database(url)
    repository = Repository(database)

    def registered(name: str) -> NewJob:
        job = new_job(name)
        repository.register(job)
        return job

    def leased(name: str) -> Lease:
        lease = repository.lease(registered(name).job_id, "host-boot-1", 60)
        assert lease is not None
        return lease

    for told in (passed(), passed(mean_ms=0.75), wrong()):
        lease = leased("vec_add")
        repository.describe(
            lease.job_id,
            Description("compare", "cuda", "torch", problem="add", labels={"team": "a"}, contract_json="{}"),
        )
        repository.publish(lease, told)
    torn = Evaluation(verdict=Verdict.REJECTED, phase=Phase.INTAKE, message="no contract.json")
    repository.publish(leased("torn"), Published(torn, {}))
    unlucky = registered("unlucky")
    while (attempt := repository.lease(unlucky.job_id, "host-boot-1", 60)) is not None:
        repository.retry(attempt, "the judge died")
    repository.attach_result(unlucky.job_id, {"verdict": "harness_error"})
    running = leased("running")
    repository.start(running)
    repository.heartbeat(running, 60, "checking 3/5")
    repository.withdraw(registered("withdrawn").job_id)
    waiting = repository.lease(registered("waiting").job_id, "other-boot-2", 60)
    assert waiting is not None
    repository.defer(waiting, "it requires a GPU, this host has none")
    with database.write() as connection:
        repository_rows.note(connection, None, "service", "note")
    daemons = DaemonRepository(database)
    daemons.report(DaemonNote("host-boot-1", "host", 1, "0.1.0", slots=2, inbox="/srv/inbox", lease_s=60))
    daemons.drain("elsewhere")
    database.close()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, postgres_server.running() as server:
        fill(f"sqlite:///{folder}/live.sqlite3")
        with sqlite3.connect(f"{folder}/live.sqlite3") as connection:
            connection.execute(f"VACUUM INTO '{folder}/frozen.sqlite3'")
        _keep("sqlite3", Path(folder, "frozen.sqlite3").read_bytes())
        url = server.create_database()
        fill(url)
        argv = [str(postgres_server._binaries() / "pg_dump"), "--inserts", "--no-owner", "--no-privileges", url]
        dump = subprocess.run(argv, capture_output=True, check=True).stdout
        _keep("sql", b"\n".join(line for line in dump.splitlines() if not line.startswith(b"\\")))


def _keep(kind: str, content: bytes) -> None:
    (FROZEN / f"{revision.REVISION}.{kind}.gz").write_bytes(gzip.compress(content, mtime=0))


if __name__ == "__main__":
    main()
