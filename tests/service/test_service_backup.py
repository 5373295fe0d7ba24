"""The page `back-up-and-restore.md`: copies made while a daemon runs judge nothing twice in another home."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from service_rehearsal import Place, on_both_databases, place
from waiting import wait_for

sys.path.insert(0, str(Path(__file__).parent.parent))

import postgres_server

from daemon.intake.owner import Owner

HOST = Owner(socket.gethostname(), "", 0).host
OLD = ("old0", "old1", "old2")
Restore = Callable[[Path], str | None]


@pytest.fixture
def copied_to(here: Place, request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Restore]:
    """Copies the database as the page says; what it answers restores that copy for a home, and answers its URL."""

    def sqlite() -> Restore:
        with sqlite3.connect(here.home / "state" / "evald.sqlite3") as connection:
            connection.execute(f"VACUUM INTO '{tmp_path / 'backup.sqlite3'}'")

        def restore(home: Path) -> None:
            (home / "state").mkdir(parents=True)
            shutil.copy(tmp_path / "backup.sqlite3", home / "state" / "evald.sqlite3")

        return restore

    def dumped() -> Restore:
        binaries, dump = postgres_server._binaries(), tmp_path / "evald.dump"
        subprocess.run([binaries / "pg_dump", "--format=custom", f"--file={dump}", here.url or ""], check=True)

        def restore(home: Path) -> str:
            home.mkdir(parents=True, exist_ok=True)
            url: str = request.getfixturevalue("postgres").create_database()
            subprocess.run([binaries / "pg_restore", "--no-owner", f"--dbname={url}", dump], check=True)
            return url

        return restore

    return dumped if here.url else sqlite


@on_both_databases
def test_a_drained_backup_restores_everything_and_judges_what_waited_once(
    here: Place, copied_to: Callable[[], Restore], tmp_path: Path
) -> None:
    here.drop(*OLD)
    daemon = here.start(LEASE_S="1.5")
    wait_for(lambda: here.has_results(*OLD), "the results")
    assert here.evald("drain", HOST).returncode == 0
    # Until the daemon itself knows, the line says "to be drained", and it may still claim something.
    wait_for(lambda: '"state": "draining"' in here.ask("status", "--json").stdout, "the daemon to know")
    wait_for(lambda: "drained" in here.ask("status").stdout, "the host to be drained")
    here.drop("waits")
    restore = copied_to()
    shutil.copytree(here.home, tmp_path / "restored", ignore=shutil.ignore_patterns("state"), symlinks=True)
    assert daemon.is_alive
    assert here.evald("drain", HOST, "--undo").returncode == 0
    wait_for(lambda: here.has_results("waits"), "the old home to go on")
    assert daemon.stop() == 0
    with place(tmp_path / "restored", restore(tmp_path / "restored")) as there:
        status = there.evald("status")
        assert (status.returncode, "3 finished" in status.stdout, "1 waiting" in status.stdout) == (0, True, True)
        assert there.evald("drain", HOST, "--undo").returncode == 0
        there.start()
        wait_for(lambda: there.has_results("waits"), "what waited to be judged")
        wait_for(lambda: there.faults(*OLD, "waits") == [], "everything put away")
        assert {job.attempts for job in there.jobs().values()} == {1}


@on_both_databases
def test_a_job_that_ended_after_the_copy_ends_as_its_result_says(
    here: Place, copied_to: Callable[[], Restore], tmp_path: Path
) -> None:
    here.drop("late")
    here.start(is_held=True, LEASE_S="3")
    wait_for(lambda: here.state("late") == "running", "a job to run")
    restore = copied_to()
    here.let_go("late")
    wait_for(lambda: here.has_results("late"), "its result")
    shutil.copytree(here.home / "results", tmp_path / "restored" / "results", symlinks=True)
    with place(tmp_path / "restored", restore(tmp_path / "restored")) as there:
        there.start(LEASE_S="2", RECONCILE_S="0.5")
        wait_for(lambda: there.state("late") in ("finished", "broken"), "the job to end")
        ended = json.loads(there.evald("show", "late", "--json").stdout)
        assert ended["result"] == json.loads((there.home / "results" / "by-name" / "late" / "result.json").read_text())
        assert there.faults("late") == []


@pytest.mark.parametrize("who", ["a daemon", "a cancel"])
def test_a_bundle_that_was_not_yet_put_away_when_its_end_was_forgotten_is_not_judged_again(
    tmp_path: Path, who: str
) -> None:
    """A daemon that dies after it has shown a result, and a database that is older than that."""
    with place(tmp_path / "home") as here:
        here.drop("early")
        first = here.start(TEST_FAILPOINTS="run.started=1", LEASE_S="2")
        assert first.process.wait(300) == -signal.SIGKILL
        with sqlite3.connect(here.home / "state" / "evald.sqlite3") as connection:
            connection.execute(f"VACUUM INTO '{tmp_path / 'backup.sqlite3'}'")
        second = here.start(TEST_FAILPOINTS="result.released=1", LEASE_S="2")
        assert second.process.wait(300) == -signal.SIGKILL
        shown = json.loads((here.home / "results" / "by-name" / "early" / "result.json").read_text())
        for file in (here.home / "state").glob("evald.sqlite3*"):
            file.unlink()
        shutil.copy(tmp_path / "backup.sqlite3", here.home / "state" / "evald.sqlite3")
        if who == "a cancel":
            assert "had ended before" in here.evald("cancel", "early").stdout
            assert here.state("early") == "finished"
        here.start(LEASE_S="2")
        wait_for(lambda: here.state("early") == "finished", "the job to end")
        wait_for(lambda: here.faults("early") == [], "it to be put away")
        assert json.loads(here.evald("show", "early", "--json").stdout)["result"] == shown


def test_a_bundle_that_comes_again_after_its_database_was_lost_is_another_job_beside_the_old_result(
    tmp_path: Path,
) -> None:
    with place(tmp_path / "home") as here:
        here.drop("again")
        first = here.start()
        wait_for(lambda: here.has_results("again") and here.faults("again") == [], "the result")
        assert first.stop() == 0
        before = here.jobs()["again"].job_id
        for file in (here.home / "state").glob("evald.sqlite3*"):
            file.unlink()
        [archived] = (here.home / "archive").iterdir()
        archived.rename(here.home / "inbox" / archived.name)
        here.start()
        wait_for(lambda: here.state("again") == "finished", "it to be judged again")
        after = here.jobs()["again"].job_id
        assert before != after

        def shown() -> set[str]:
            return {path.parent.name for path in (here.home / "results").glob("[0-9]*/*/result.json")}

        wait_for(lambda: len(shown()) > 1, "its result to be seen, a moment after the database has it")
        assert shown() == {before, after}


@on_both_databases
def test_a_copy_of_the_history_made_at_work_restores_and_judges_nothing_twice(
    here: Place, copied_to: Callable[[], Restore], tmp_path: Path
) -> None:
    here.drop(*OLD)
    here.start(REHEARSAL_S="0.1")
    wait_for(lambda: here.has_results(*OLD), "the results")
    wait_for(lambda: here.faults(*OLD) == [], "everything put away")
    here.started[0].stop()
    here.drop("unfinished")
    here.start(is_held=True, LEASE_S="2")
    wait_for(lambda: here.state("unfinished") == "running", "a job to run")
    restore = copied_to()
    shutil.copytree(here.home / "results", tmp_path / "restored" / "results", symlinks=True)
    with place(tmp_path / "restored", restore(tmp_path / "restored")) as there:
        assert there.evald("status").returncode == 0
        assert there.has_results(*OLD)
        there.start(LEASE_S="2")
        wait_for(lambda: there.state("unfinished") == "broken", "the job without a bundle to end")
        states = {name: (str(job.state), str(job.verdict)) for name, job in there.jobs().items()}
        assert states == {**dict.fromkeys(OLD, ("finished", "unsupported")), "unfinished": ("broken", "harness_error")}
        assert {there.jobs()[name].attempts for name in OLD} == {1}
