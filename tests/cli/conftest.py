from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import evald_processes
import pytest
from cli_homes import PastHome

from daemon.cli import failing
from daemon.config import Settings


@dataclass(frozen=True)
class Ran:
    """What one command line did."""

    code: int
    out: str
    err: str

    def document(self) -> Any:
        return json.loads(self.out)


Evald = Callable[..., Ran]
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in an empty folder, without settings from outside."""
    for name in [name for name in os.environ if name.startswith("EVALD_")]:
        monkeypatch.delenv(name)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0)
    monkeypatch.setenv("EVALD_SANDBOX_UID_BASE", str(400_000 + 10_000 * worker))
    monkeypatch.setenv("EVALD_QUIET_S", "0.3")
    monkeypatch.setenv("EVALD_CONTROL_INTERVAL_S", "0")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def evald(capsys: pytest.CaptureFixture[str]) -> Evald:
    """Run one command line in this process."""

    def run(*args: object) -> Ran:
        capsys.readouterr()
        code = failing.run([str(arg) for arg in args])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@pytest.fixture
def process() -> Evald:
    """Run one command line in a process of its own, forked from one that has imported evald."""

    def run(*args: object) -> Ran:
        done = evald_processes.evald(*map(str, args), env=os.environ)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def from_nothing() -> Evald:
    """The same by a Python of its own, as a user starts it: 1 CPU-second, and 3 more where it judges."""

    def run(*args: object) -> Ran:
        argv = [sys.executable, "-m", "daemon", *map(str, args)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=400, check=False)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


def _started(make: Callable[..., subprocess.Popen[str]]) -> Iterator[Start]:
    """Start a command line and go on; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def run(*args: object) -> subprocess.Popen[str]:
        one = make(*map(str, args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(one)
        return one

    yield run
    for one in started:
        one.kill()
        one.communicate()


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a command line, forked, and go on."""
    yield from _started(evald_processes.Evald)


@pytest.fixture
def start_from_nothing() -> Iterator[Start]:
    """The same with a Python of its own."""

    def make(*args: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen([sys.executable, "-m", "daemon", *args], **options)

    yield from _started(make)


@pytest.fixture
def past(tmp_path: Path) -> Iterator[PastHome]:
    """A home in `./evald-home`, with a database and no jobs."""
    made = PastHome(Settings(home=tmp_path / "evald-home"))
    yield made
    made.database.close()
