"""The daemon's side of the notify protocol, as a real process under a supervisor that only listens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

DRIVER = Path(__file__).parent / "systemd_driver.py"
WATCHDOG_S = 1.0


class Supervised:
    """A process with a notify socket. `messages`: every line it sent."""

    def __init__(self, folder: Path, argv: list[str], **variables: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(folder / "notify"))
        self.messages: list[str] = []
        environment = {"NOTIFY_SOCKET": str(folder / "notify"), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
        self.process = subprocess.Popen(argv, env={**os.environ, **environment, **variables}, stderr=subprocess.DEVNULL)

    def listen(self, limit_s: float) -> list[str]:
        """The next datagram's lines, none when nothing comes for `limit_s`."""
        self.socket.settimeout(limit_s)
        try:
            lines = self.socket.recv(4096).decode().split("\n")
        except TimeoutError:
            return []
        self.messages += lines
        return lines

    def wait_for(self, wanted: Callable[[str], object]) -> str:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            for line in self.listen(1):
                if wanted(line):
                    return line
        raise AssertionError(f"in vain; it said {self.messages[-20:]}")

    def pings_go_on(self, count: int) -> None:
        """Fails unless `count` more pings come, however late a loaded machine is with them."""
        for _ in range(count):
            deadline = time.monotonic() + 100 * WATCHDOG_S
            while "WATCHDOG=1" not in self.listen(WATCHDOG_S):
                assert time.monotonic() < deadline, f"no ping; it said {self.messages[-5:]}"

    def pings_stop(self) -> None:
        """Fails unless two periods pass without a ping, within a minute."""
        deadline, last = time.monotonic() + 60, time.monotonic()
        while time.monotonic() - last < 2 * WATCHDOG_S:
            if "WATCHDOG=1" in self.listen(0.1):
                last = time.monotonic()
            assert time.monotonic() < deadline, "it pings for ever"


Start = Callable[..., Supervised]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Supervised] = []

    def run(*argv: str, **variables: str) -> Supervised:
        started.append(Supervised(tmp_path, [sys.executable, *argv], **variables))
        return started[-1]

    yield run
    for one in started:
        one.process.kill()
        one.process.wait()
        one.socket.close()


def test_evald_run_tells_when_it_is_ready_how_it_is_and_that_it_stops(tmp_path: Path, start: Start) -> None:
    metrics = tmp_path / "evald.prom"
    evald = start(
        *("-m", "daemon", "run", "--home", str(tmp_path / "home")),
        *("--set", "engine=rehearsal", "--set", f"metrics_file={metrics}"),
    )
    evald.wait_for(lambda line: line == "READY=1")
    evald.wait_for(lambda line: line == "STATUS=0/1 slots judging, 0 queued, 0 in the inbox, 0 judged")
    evald.pings_go_on(6)
    assert "evald_up 1" in metrics.read_text("utf-8")
    evald.process.send_signal(signal.SIGTERM)
    evald.wait_for(lambda line: line == "STOPPING=1")
    assert evald.process.wait(300) == 0
    assert "evald_up 0" in metrics.read_text("utf-8")
    assert all("=" in line for line in evald.messages)


@pytest.mark.parametrize(("fault", "view"), [("spin", "is running"), ("lock", "is waiting for a lock")])
def test_a_wedged_main_loop_gets_no_more_pings(tmp_path: Path, start: Start, fault: str, view: str) -> None:
    evald = start(str(DRIVER), str(tmp_path / "home"), fault, str(tmp_path / "trigger"))
    evald.wait_for(lambda line: line == "READY=1")
    evald.pings_go_on(2)
    (tmp_path / "trigger").touch()
    evald.pings_stop()
    assert any(f"MainThread {view}" in line for line in evald.messages) or fault == "spin"
    assert evald.process.poll() is None


def test_a_file_server_that_hangs_is_waited_for_and_named(tmp_path: Path, start: Start) -> None:
    os.mkfifo(tmp_path / "pipe")
    evald = start(str(DRIVER), str(tmp_path / "home"), "pipe", str(tmp_path / "link"))
    evald.wait_for(lambda line: line == "READY=1")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    evald.wait_for(lambda line: line.startswith("STATUS=waiting: watching the inbox for "))
    evald.pings_go_on(10)
    (tmp_path / "link").unlink()
    writer = os.open(tmp_path / "pipe", os.O_WRONLY)
    os.close(writer)
    evald.wait_for(lambda line: line.startswith("STATUS=0/1 slots judging"))
    evald.pings_go_on(2)


def test_an_inbox_that_vanishes_is_waited_for_with_the_reason(tmp_path: Path, start: Start) -> None:
    home = tmp_path / "home"
    evald = start(str(DRIVER), str(home), "none", str(tmp_path / "never"))
    evald.wait_for(lambda line: line == "READY=1")
    (home / "inbox").rename(home / "elsewhere")
    evald.wait_for(lambda line: line.startswith("STATUS=waiting: ") and "inbox" in line)
    evald.pings_go_on(8)
    (home / "elsewhere").rename(home / "inbox")
    evald.wait_for(lambda line: line.startswith("STATUS=0/1 slots judging"))


def test_a_stopped_process_sends_nothing(tmp_path: Path, start: Start) -> None:
    evald = start(str(DRIVER), str(tmp_path / "home"), "none", str(tmp_path / "never"))
    evald.wait_for(lambda line: line == "READY=1")
    evald.process.send_signal(signal.SIGSTOP)
    evald.pings_stop()
    evald.process.send_signal(signal.SIGCONT)
    evald.pings_go_on(2)
