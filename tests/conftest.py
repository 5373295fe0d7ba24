"""What counts for every test: judges on the CPU are forked, what is collected is not looked through for garbage,
examples of properties take what time they take, and there is one Postgres."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))

import evald_processes
import postgres_server

with suppress(ImportError):  # where nothing but tests/gpu runs it need not be installed
    import hypothesis

    # How long an example takes is the machine's affair.
    hypothesis.settings.register_profile(
        "evald", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("evald")

evald_processes.fork_judges()
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a suite in the background of a script: tests type Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays until the end: looking through it for garbage takes a third of collecting it, in every
    worker, and would go on doing so in the tests."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    """`os.umask`. What it was is put back when the test has ended."""
    before = os.umask(0)
    os.umask(before)
    yield os.umask
    os.umask(before)


@pytest.fixture(scope="session")
def postgres() -> Iterator[postgres_server.PostgresServer]:
    """One server for all tests of a worker, each with databases of its own."""
    try:
        with postgres_server.running() as server:
            yield server
    except postgres_server.PostgresMissing as reason:
        pytest.skip(str(reason))
