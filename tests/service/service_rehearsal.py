"""Daemons that rehearse: real processes over a real database that run no kernel, and the books about them."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import pytest
from service_bundles import result_of
from sqlalchemy import text
from waiting import wait_for

sys.path.append(str(Path(__file__).parent.parent))

import evald_processes
from evald_processes import Evald, Held

from daemon.cli import failing
from daemon.config import Settings
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.records import JobRecord
from daemon.errors import EvaldError

SOURCE = "class Model(nn.Module):\n    def forward(self):\n        return torch.ones(1)\n"
FAST = {
    "ENGINE": "rehearsal",
    "REHEARSAL_S": "0.05",
    "QUIET_S": "0.3",
    "SCAN_INTERVAL_S": "0.1",
    "RECONCILE_S": "0.5",
    "LEASE_S": "30",
    "MIN_FREE_BYTES": "1",
}

on_both_databases = pytest.mark.parametrize("here", ["sqlite", "postgres"], indirect=True)
# Where what differs between databases is tried in tests/db and, of whole daemons, by the tests of outages and by chaos.
on_both_if_thorough = pytest.mark.parametrize(
    "here", ["sqlite", pytest.param("postgres", marks=pytest.mark.thorough)], indirect=True
)


@dataclass(frozen=True)
class Daemon:
    """One process and what it wrote so far."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def story(self) -> str:
        return self.log.read_text("utf-8", "replace")

    @property
    def is_alive(self) -> bool:
        return self.process.poll() is None

    @property
    def peak_bytes(self) -> int:
        """The most memory it has had so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        """The exit code after SIGTERM."""
        self.process.terminate()
        return self.process.wait(300)


@dataclass
class Place:
    """One evald home on one database (its own SQLite file, or `url`)."""

    home: Path
    url: str | None = None
    started: list[Daemon] = field(default_factory=list)

    @property
    def database_url(self) -> str:
        return self.url or Settings(home=self.home).database_url

    def environment(self, **settings: str) -> dict[str, str]:
        given = {**FAST, **({"DATABASE": self.url} if self.url else {}), **settings}
        return {**os.environ, "EVALD_HOME": str(self.home), **{f"EVALD_{key}": value for key, value in given.items()}}

    def start(self, command: str = "run", *, is_held: bool = False, **settings: str) -> Daemon:
        """With `is_held` it is at every job until that one is let go."""
        log = self.home / f"daemon{len(self.started)}.log"
        with log.open("wb") as stream:
            environment = self.environment(**settings)
            process = (Held if is_held else Evald)(*command.split(), env=environment, stdout=stream, stderr=stream)
        self.started.append(Daemon(process, log))
        return self.started[-1]

    def let_go(self, *names: str) -> None:
        """Daemons that are held come to the end of these jobs now, or at once when they begin them."""
        evald_processes.let_go(self.home, names)

    def freeze(self, daemon: Daemon) -> None:
        """Stop `daemon` between two transactions. One that is frozen inside keeps what it has locked, and nobody else
        can write.
        """
        for _ in range(100):
            daemon.signal(signal.SIGSTOP)
            wait_for(lambda: not daemon.is_alive or _is_stopped(daemon.process.pid), "it to stop")
            if not self._has_transaction():
                return
            daemon.signal(signal.SIGCONT)
            time.sleep(0.02)
        raise AssertionError("the daemon was in a transaction whenever it was stopped")

    def _has_transaction(self) -> bool:
        """Whether anybody writes, or on Postgres does anything."""
        database = Database(self.database_url)
        try:
            if not database.is_sqlite:
                time.sleep(0.2)  # what the stopped one has sent arrives
                with database.read() as connection:
                    others = "datname = current_database() AND pid <> pg_backend_pid() AND state <> 'idle'"
                    return bool(connection.scalar(text(f"SELECT count(*) FROM pg_stat_activity WHERE {others}")))
            connection = sqlite3.connect(str(database.url.database), timeout=0.5, isolation_level=None)
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            except sqlite3.OperationalError:
                return True
            finally:
                connection.close()
            return False
        finally:
            database.close()

    def evald(self, *argv: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return evald_processes.evald(*argv, env=self.environment(**settings))

    def ask(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """Run one command in this process: one that is asked until its answer is another. To start Python for each
        time would take the processor from the daemons that it is about."""
        out, err = io.StringIO(), io.StringIO()
        with mock.patch.dict(os.environ, self.environment()), redirect_stdout(out), redirect_stderr(err):
            code = failing.run(argv)
        return subprocess.CompletedProcess(argv, code, out.getvalue(), err.getvalue())

    def drop(self, *names: str, **fields: object) -> None:
        """Rename one contract for each name into the inbox, with these `fields` beside its name and kernel."""
        outside, inbox = self.home / "outside", self.home / "inbox"
        for folder in (outside, inbox):
            folder.mkdir(exist_ok=True)
        for name in names:
            document = {"name": name, "kernel": {"kernel_type": "torch", "source_code": SOURCE}, **fields}
            (outside / name).write_text(json.dumps(document), "utf-8")
            (outside / name).rename(inbox / f"{name}.json")

    def jobs(self) -> dict[str, JobRecord]:
        """The jobs by name; none while there is no database to ask."""
        try:
            database = Database(self.database_url, must_exist=True)
            try:
                return {job.name: job for job in History(database).jobs(limit=1000).jobs}
            finally:
                database.close()
        except EvaldError:
            return {}

    def state(self, name: str) -> str:
        job = self.jobs().get(name)
        return str(job.state) if job else "unknown"

    def has_results(self, *names: str) -> bool:
        return all(result_of(self.home, name) for name in names)

    def faults(self, *names: str) -> list[str]:
        """What is wrong when exactly `names` should have been judged, each once, with nothing left behind. A job that
        was given back stays as withdrawn; its bundle comes again as another.
        """
        database = Database(self.database_url, must_exist=True)
        history = History(database)
        jobs = [job for job in history.jobs(limit=1000).jobs if job.state != "withdrawn"]
        found = [f"{job.name} is {job.state}" for job in jobs if job.state != "finished"]
        if sorted(job.name for job in jobs) != sorted(names):
            found.append(f"jobs are {sorted(job.name for job in jobs)}")
        for job in jobs:
            published = [event for event in history.events(job.job_id) if event.kind == "published"]
            if len(published) != 1:
                found.append(f"{job.name} was published {len(published)} times")
        database.close()
        files = Counter(path.parent.name for path in (self.home / "results").glob("[0-9]*/*/result.json"))
        if files != Counter(job.job_id for job in jobs):
            found.append(f"result files {files}")
        folders = [self.home / name for name in ("inbox", "work", "results/.outbox", "state/jobs")]
        return found + [f"left behind: {entry}" for folder in folders for entry in folder.iterdir()]


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] == "T"


@contextmanager
def place(home: Path, url: str | None = None) -> Iterator[Place]:
    """A place whose daemons are killed at the end."""
    home.mkdir(exist_ok=True)
    found = Place(home, url)
    try:
        yield found
    finally:
        for daemon in found.started:
            daemon.signal(signal.SIGCONT)
            daemon.signal(signal.SIGKILL)
            daemon.process.wait(120)
