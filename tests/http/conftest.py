from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent
for folder in (Path(__file__).parent, TESTS / "service", TESTS):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from http_servers import Serve, Server, started  # noqa: E402 - found in the folders just named


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def serve(home: Path) -> Iterator[Serve]:
    """Start servers on one home; what still runs at the end is killed."""
    running: list[Server] = []

    def run(*options: str, is_held: bool = False, **settings: str) -> Server:
        running.append(started(home, *options, is_held=is_held, **settings))
        return running[-1]

    yield run
    for server in running:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()


def _until_the_end(made: Server) -> Iterator[Server]:
    yield made
    try:
        assert made.stop() == 0
    finally:
        made.process.kill()
        made.process.wait()


@pytest.fixture(scope="session")
def judging(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that judges for real, on the CPU, in short measurements of little memory: one for all tests of a
    worker."""
    home = tmp_path_factory.mktemp("judging") / "home"
    quick = {"TIMING_MAX_S": "0.2", "TIMING_TARGET_RSE": "0.2", "TIMING_MIN_ROUNDS": "5"}
    quick |= {"TIMING_ARENA_BYTES": str(32 << 20), "TIMING_MAX_CALLS": "64", "CONTROL_INTERVAL_S": "0"}
    made = started(home, ENGINE="local", DEVICE="cpu", SLOTS="1", LEASE_S="60", **quick)
    yield from _until_the_end(made)


@pytest.fixture(scope="session")
def rehearsing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server for tests that ask nothing of a verdict: one for all tests of a worker."""
    yield from _until_the_end(started(tmp_path_factory.mktemp("rehearsing") / "home"))
