"""A processor that is kept awake, and only while that is wanted."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daemon.executor.wakeful import Wakeful

LIMIT_S = 60.0
HOLDER = """
import sys, time
from daemon.executor.wakeful import Wakeful
wakeful = Wakeful(int(sys.argv[1]))
with wakeful.awake():
    print(wakeful.pid, flush=True)
    time.sleep(600)
"""


def eventually(is_so: Callable[[], bool]) -> bool:
    limit = time.monotonic() + LIMIT_S
    while not is_so():
        if time.monotonic() > limit:
            return False
        time.sleep(0.02)
    return True


def status(pid: int) -> list[str]:
    """What follows the name in `/proc/<pid>/stat`; nothing once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    except OSError:
        return []


def is_running(pid: int) -> bool:
    return status(pid)[:1] == ["R"]


def is_waiting(pid: int) -> bool:
    return status(pid)[:1] == ["S"]


def is_gone(pid: int) -> bool:
    return status(pid)[:1] in ([], ["Z"])


@pytest.fixture
def wakeful() -> Iterator[Wakeful]:
    made = Wakeful(max(os.sched_getaffinity(0)))
    yield made
    made.close()


def test_it_works_while_it_is_wanted_and_rests_else(wakeful: Wakeful) -> None:
    assert eventually(lambda: is_waiting(wakeful.pid))
    for _ in range(2):
        with wakeful.awake():
            assert eventually(lambda: is_running(wakeful.pid))
        assert eventually(lambda: is_waiting(wakeful.pid))


def test_it_gives_way_to_everybody_and_stays_where_it_belongs(wakeful: Wakeful) -> None:
    assert eventually(lambda: os.sched_getscheduler(wakeful.pid) == os.SCHED_IDLE)
    assert os.sched_getaffinity(wakeful.pid) == {max(os.sched_getaffinity(0))}


def test_it_ends_when_it_is_told_to(wakeful: Wakeful) -> None:
    wakeful.close()
    assert is_gone(wakeful.pid)


def test_it_ends_with_whoever_started_it() -> None:
    command = [sys.executable, "-c", HOLDER, str(max(os.sched_getaffinity(0)))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        pid = int(holder.stdout.readline())
        assert eventually(lambda: is_running(pid))
        holder.kill()
    assert eventually(lambda: is_gone(pid))


def test_without_a_processor_there_is_no_process() -> None:
    made = Wakeful(None)
    with made.awake():
        assert made.pid is None
    made.close()


def test_a_processor_that_is_not_to_be_had_is_no_reason_to_stop() -> None:
    made = Wakeful(max(os.sched_getaffinity(0)) + 10_000)
    assert eventually(lambda: is_gone(made.pid))
    with made.awake():
        pass
    made.close()
