"""Postgres goes away and comes back, in every way it can, under real daemons: nothing lost, nothing doubled."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from service_rehearsal import Place, place
from waiting import wait_for

sys.path.insert(0, str(Path(__file__).parent.parent))

import postgres_server

WAITS = "waiting for storage"
HOW = {"fast": signal.SIGINT, "killed": signal.SIGKILL}


@dataclass
class Outage:
    """A server that can be taken away."""

    server: postgres_server.PostgresServer
    process: subprocess.Popen[bytes]

    def down(self, how: signal.Signals = signal.SIGINT) -> None:
        self.process.send_signal(how)
        self.process.wait(120)

    def up(self) -> None:
        """A killed server's children hold its memory for a moment: try until it is let go."""
        deadline = time.monotonic() + 60
        while True:
            binaries, user = postgres_server._binaries(), postgres_server._unprivileged()
            self.process = postgres_server._start(binaries, self.server.socket_folder, user)
            try:
                postgres_server._wait_until_ready(self.server.socket_folder, self.process)
                return
            except postgres_server.PostgresMissing:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


@pytest.fixture(scope="module")
def running_server() -> Iterator[Outage]:
    try:
        with postgres_server.running() as server:
            outage = Outage(server, server.process)
            yield outage
            postgres_server._stop(outage.process)
    except postgres_server.PostgresMissing as reason:
        pytest.skip(str(reason))


@pytest.fixture
def postgres(running_server: Outage) -> Iterator[Outage]:
    if running_server.process.poll() is not None:  # the test before failed with the server down
        running_server.up()
    yield running_server
    if running_server.process.poll() is not None:
        running_server.up()


@pytest.fixture
def here(postgres: Outage, tmp_path: Path) -> Iterator[Place]:
    with place(tmp_path / "home", postgres.server.create_database()) as found:
        yield found


def settled(here: Place, *names: str) -> None:
    """All judged once and put away, every daemon alive and ending well."""
    wait_for(lambda: here.has_results(*names), "all results")
    wait_for(lambda: here.faults(*names) == [], "everything put away")
    assert [daemon.stop() for daemon in here.started] == [0] * len(here.started)
    assert here.faults(*names) == []


@pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())
def test_a_server_that_goes_while_the_daemon_idles_is_waited_for(
    here: Place, postgres: Outage, how: signal.Signals
) -> None:
    here.drop("before")
    daemon = here.start()
    wait_for(lambda: here.has_results("before"), "the first result")
    assert here.faults("before", "never dropped"), "the books can be wrong"
    postgres.down(how)
    wait_for(lambda: WAITS in daemon.story, "the daemon to say what it waits for")
    here.drop("meanwhile")
    postgres.up()
    wait_for(lambda: "storage is back" in daemon.story, "the daemon to say that it is back")
    settled(here, "before", "meanwhile")
    assert {job.attempts for job in here.jobs().values()} == {1}


@pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())
def test_a_job_that_runs_through_an_outage_is_published_when_it_ends(
    here: Place, postgres: Outage, how: signal.Signals
) -> None:
    here.drop("long")
    daemon = here.start(is_held=True, LEASE_S="300")
    wait_for(lambda: here.state("long") == "running", "the job to run")
    postgres.down(how)
    wait_for(lambda: WAITS in daemon.story, "the daemon to say what it waits for")
    postgres.up()
    here.let_go("long")
    settled(here, "long")
    assert here.jobs()["long"].attempts == 1


@pytest.mark.parametrize("how", HOW.values(), ids=HOW.keys())
def test_a_result_that_finds_no_server_waits_in_the_outbox(here: Place, postgres: Outage, how: signal.Signals) -> None:
    here.drop("judged")
    daemon = here.start(is_held=True, LEASE_S="300")
    wait_for(lambda: here.state("judged") == "running", "the job to run")
    postgres.down(how)
    here.let_go("judged")
    outbox = here.home / "results" / ".outbox"
    wait_for(lambda: "cannot take or finish a job now" in daemon.story and any(outbox.iterdir()), "the staged result")
    assert not here.has_results("judged")
    postgres.up()
    settled(here, "judged")
    assert here.jobs()["judged"].attempts == 1


def test_a_daemon_killed_with_a_result_in_the_outbox_and_no_server_loses_nothing(here: Place, postgres: Outage) -> None:
    here.drop("judged")
    first = here.start(is_held=True, LEASE_S="300")
    wait_for(lambda: here.state("judged") == "running", "the job to run")
    postgres.down()
    here.let_go("judged")
    outbox = here.home / "results" / ".outbox"
    wait_for(lambda: "cannot take or finish a job now" in first.story and any(outbox.iterdir()), "the staged result")
    first.signal(signal.SIGKILL)
    first.process.wait(120)
    here.started.clear()
    second = here.start()
    wait_for(lambda: "waiting for the database" in second.story, "the second daemon to wait")
    postgres.up()
    settled(here, "judged")
    assert here.jobs()["judged"].attempts == 1


@pytest.mark.thorough  # each of its moments has a test above
def test_a_server_killed_again_and_again_under_load_loses_and_doubles_nothing(here: Place, postgres: Outage) -> None:
    names = [f"bundle{number}" for number in range(24)]
    here.drop(*names[:12])
    for _ in range(2):
        here.start(SLOTS="2", REHEARSAL_S="0.3", MAX_ATTEMPTS="100")
    for ended in (1, 5, 9):
        wait_for(lambda ended=ended: sum(here.has_results(name) for name in names) >= ended, f"{ended} results")
        postgres.down(signal.SIGKILL)
        here.drop(*names[12 + (ended // 4) * 4 :][:4])
        postgres.up()
    settled(here, *names)


def test_sessions_ended_by_an_administrator_lose_and_double_nothing(here: Place, postgres: Outage) -> None:
    names = [f"bundle{number}" for number in range(20)]
    here.drop(*names)
    daemon = here.start(SLOTS="2", REHEARSAL_S="0.2", MAX_ATTEMPTS="100")
    with psycopg.connect(f"host={postgres.server.socket_folder} user=evald dbname=postgres", autocommit=True) as admin:
        for number in range(8):
            wait_for(lambda n=number: sum(here.has_results(name) for name in names) > 2 * n, "progress")
            ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'evald'"
            admin.execute(ended)
    settled(here, *names)
    assert daemon.process.returncode == 0


def test_a_server_whose_connections_others_use_up_is_waited_for(here: Place, postgres: Outage) -> None:
    here.drop("before")
    daemon = here.start()
    wait_for(lambda: here.has_results("before"), "the first result")
    conninfo = f"host={postgres.server.socket_folder} user=evald dbname=postgres"
    others = [psycopg.connect(conninfo, autocommit=True)]
    try:
        while WAITS not in daemon.story:
            with suppress(psycopg.OperationalError):
                while True:
                    others.append(psycopg.connect(conninfo, autocommit=True))
            others[0].execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'evald'")
        assert daemon.is_alive
        here.drop("meanwhile")
    finally:
        for other in others:
            other.close()
    settled(here, "before", "meanwhile")


def test_a_server_that_is_down_at_the_start_is_waited_for(here: Place, postgres: Outage) -> None:
    postgres.down()
    here.drop("early")
    daemon = here.start()
    wait_for(lambda: "waiting for the database" in daemon.story, "the daemon to say what it waits for")
    assert (here.home / "inbox" / "early.json").exists(), "nothing is claimed"
    postgres.up()
    settled(here, "early")


def test_a_daemon_that_waits_for_its_server_can_be_stopped(here: Place, postgres: Outage) -> None:
    postgres.down()
    here.drop("untouched")
    daemon = here.start()
    wait_for(lambda: "waiting for the database" in daemon.story, "the daemon to say what it waits for")
    assert daemon.stop() == 0
    assert (here.home / "inbox" / "untouched.json").exists()


def test_a_sweep_does_not_wait_for_a_server(here: Place, postgres: Outage) -> None:
    postgres.down()
    here.drop("untouched")
    assert here.start("sweep").process.wait(300) == 75
    assert (here.home / "inbox" / "untouched.json").exists()


def test_a_missing_folder_of_a_sqlite_database_is_an_error_at_once(tmp_path: Path) -> None:
    with place(tmp_path / "home", f"sqlite:///{tmp_path / 'nowhere' / 'evald.sqlite3'}") as here:
        daemon = here.start()
        assert daemon.process.wait(300) == 2
        assert "nowhere" in daemon.story
