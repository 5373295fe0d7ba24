from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent))

from evald_processes import Evald
from service_rehearsal import Place, place

from daemon.paths import Paths

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture
def here(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A home for daemons that rehearse, with its own SQLite file; or on the database that a test is parametrized with
    (`service_rehearsal.on_both_databases`)."""
    kind = getattr(request, "param", "sqlite")
    url = None if kind == "sqlite" else request.getfixturevalue("postgres").create_database()
    with place(tmp_path / "home", url) as found:
        yield found


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    made = Paths(tmp_path, tmp_path / "inbox", tmp_path / "results", tmp_path / "state")
    made.create()
    return made


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Start `evald COMMAND` on the home as a real process; whatever still runs at the end is killed."""
    started: list[subprocess.Popen[str]] = []
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw") or 0)

    def run(*command: str, **variables: str) -> subprocess.Popen[str]:
        patient = {"EVALD_QUIET_S": "0.5", "EVALD_DEADLINES_START_S": "300", "EVALD_CONTROL_INTERVAL_S": "0"}
        environment = {**os.environ, "EVALD_HOME": str(home), **patient, **variables}
        environment["EVALD_SANDBOX_UID_BASE"] = str(200_000 + 10_000 * worker + 10 * len(started))
        process = Evald(*command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
