"""Full disks: the daemon stays up, says what it waits for, loses nothing, and goes on by itself when there is room."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults_host import can_be_root
from service_rehearsal import Daemon, Place
from waiting import wait_for

pytestmark = pytest.mark.skipif(not can_be_root(), reason="a small file system of one's own takes root")

SIZE_MIB = 24


class Disk:
    """A small tmpfs in a mount namespace of its own, reached through the process that holds it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        script = f"mount -t tmpfs -o size={SIZE_MIB}m none {folder} && echo ready && exec sleep 1000"
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "--propagation", "private", "sh", "-c", script], stdout=subprocess.PIPE
        )
        assert self.holder.stdout is not None
        if self.holder.stdout.readline() != b"ready\n":
            pytest.skip("no file system can be mounted here, not even in a namespace")
        self.folder = folder
        self.root = Path(f"/proc/{self.holder.pid}/root{folder}")

    def fill(self, name: str = "ballast") -> None:
        """Until not one more byte goes into this file, and no other file gets another page."""
        with (self.root / name).open("ab", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError:
                    continue

    def empty(self) -> None:
        (self.root / "ballast").unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    made.holder.kill()
    made.holder.communicate()


def settled(here: Place, *names: str) -> bool:
    return all(here.state(name) == "finished" for name in names)


def test_results_that_find_no_room_are_written_when_there_is_some_and_nothing_is_claimed_meanwhile(
    here: Place, disk: Disk
) -> None:
    daemon = here.start(RESULTS=str(disk.root / "results"), is_held=True, MAX_ATTEMPTS="100")
    here.drop("judged")
    wait_for(lambda: here.state("judged") == "running", "the job to run")
    disk.fill()
    here.let_go("judged", "later")
    wait_for(lambda: "No space left" in daemon.story or "MiB free" in daemon.story, "the daemon to say so")
    here.drop("later")
    assert daemon.is_alive
    assert not list((disk.root / "results").glob("[0-9]*/*/result.json"))
    disk.empty()
    wait_for(lambda: settled(here, "judged", "later"), "both to be finished")
    wait_for(lambda: not list((here.home / "work").iterdir()), "everything put away")
    results = sorted(path.parent.name for path in (disk.root / "results").glob("[0-9]*/*/result.json"))
    assert results == sorted(job.job_id for job in here.jobs().values())
    assert not list((disk.root / "results" / ".outbox").iterdir())
    assert daemon.stop() == 0


def logging_to(here: Place, log: Path, *inside: str, **settings: str) -> Daemon:
    """A daemon whose streams both go to `log`, started by the command `inside`."""
    with log.open("ab") as stream:
        command = [*inside, sys.executable, "-m", "daemon", "run"]
        process = subprocess.Popen(command, env=here.environment(**settings), stdout=stream, stderr=stream)
    here.started.append(Daemon(process, log))
    return here.started[-1]


def test_a_log_that_takes_no_more_lines_does_not_stop_the_judging(here: Place, disk: Disk) -> None:
    daemon = logging_to(here, disk.root / "daemon.log")
    wait_for(lambda: "watching" in daemon.story, "the daemon to watch")
    disk.fill("daemon.log")
    lines = daemon.story
    here.drop("judged")
    wait_for(lambda: here.has_results("judged"), "the result")
    wait_for(lambda: here.faults("judged") == [], "everything put away")
    assert "judged" not in daemon.story[len(lines) :], "the log was not full"
    daemon.process.terminate()
    assert daemon.process.wait(300) in (0, 120)  # 120: Python could not flush its own streams at the end


def test_a_log_that_is_full_at_the_start_does_not_keep_the_daemon_from_starting(here: Place) -> None:
    daemon = logging_to(here, Path("/dev/full"))
    here.drop("judged")
    wait_for(lambda: here.has_results("judged") or not daemon.is_alive, "the result, or the end of the daemon")
    assert daemon.is_alive


def test_a_full_tmp_does_not_stop_the_daemon(here: Place, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    disk.fill()
    monkeypatch.setenv("TMPDIR", str(disk.root))
    daemon = here.start()
    here.drop("judged")
    wait_for(lambda: here.has_results("judged"), "the result")
    wait_for(lambda: here.faults("judged") == [], "everything put away")
    assert daemon.stop() == 0


def test_below_the_mark_nothing_is_claimed_and_above_it_everything(here: Place, disk: Disk) -> None:
    mark = str(8 << 20)
    daemon = here.start(RESULTS=str(disk.root / "results"), MIN_FREE_BYTES=mark)
    wait_for((here.home / "inbox").is_dir, "the inbox")
    disk.fill()
    here.drop("patient")
    wait_for(lambda: "MiB free" in daemon.story, "the daemon to say so")
    assert [entry.name for entry in (here.home / "inbox").iterdir()] == ["patient.json"]
    disk.empty()
    wait_for(lambda: settled(here, "patient"), "the job to be finished")
    assert daemon.stop() == 0


def test_a_full_state_folder_stops_database_and_copies_and_both_go_on_when_there_is_room(
    here: Place, disk: Disk
) -> None:
    """SQLite opens real paths only, so this daemon lives in the namespace of the disk."""
    inside = ("nsenter", "--mount", "--target", str(disk.holder.pid), "--")
    state = {"STATE": str(disk.folder), "LEASE_S": "3", "MAX_ATTEMPTS": "100"}
    daemon = logging_to(here, here.home / "state.log", *inside, **state)
    here.drop("before")
    wait_for(lambda: here.has_results("before"), "the first result")
    wait_for(lambda: not list((here.home / "work").iterdir()), "the first to be put away")
    disk.fill()
    here.drop("meanwhile")
    wait_for(lambda: "waiting" in daemon.story, "the daemon to say what it waits for")
    assert daemon.is_alive and not here.has_results("meanwhile")
    disk.empty()
    wait_for(lambda: here.has_results("meanwhile"), "the second result")
    wait_for(lambda: not list((here.home / "work").iterdir()), "everything put away")
    assert len(list((here.home / "results").glob("[0-9]*/*/result.json"))) == 2
    assert daemon.stop() == 0
