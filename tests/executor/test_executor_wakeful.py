"""A processor that is kept awake, and only while that is wanted."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from waiting import wait_for

from daemon.executor.sandbox import cgroup, owner
from daemon.executor.sandbox.policy import CellLimits
from daemon.executor.timing.wakeful import Wakeful

PROCESSOR = max(os.sched_getaffinity(0))
BUSY_S = 1.0
LIMITS = CellLimits(1 << 30, processes=8, open_files=64, file_bytes=1 << 20, tmp_bytes=1 << 20, tmp_inodes=100)
HOLDER = """
import sys, time
from daemon.executor.timing.wakeful import Wakeful
wakeful = Wakeful(int(sys.argv[1]), None)
with wakeful.awake():
    print(wakeful.pid, flush=True)
    time.sleep(600)
"""


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
    made = Wakeful(PROCESSOR, cgroup.find())
    yield made
    made.close()


def test_it_works_while_it_is_wanted_and_rests_else(wakeful: Wakeful) -> None:
    wait_for(lambda: is_waiting(wakeful.pid), "it to sleep")
    for _ in range(2):
        with wakeful.awake():
            wait_for(lambda: is_running(wakeful.pid), "it to run")
        wait_for(lambda: is_waiting(wakeful.pid), "it to sleep")


def test_it_rests_in_the_turns_of_cells(wakeful: Wakeful) -> None:
    with wakeful.awake():
        for _ in range(3):
            wait_for(lambda: is_running(wakeful.pid), "it to run")
            wakeful.make_way()
            wait_for(lambda: is_waiting(wakeful.pid), "it to sleep")
            wakeful.step_in()
    wakeful.step_in()  # nobody wants it now
    wait_for(lambda: is_waiting(wakeful.pid), "it to sleep")


def test_it_gives_way_to_everybody_and_stays_where_it_belongs(wakeful: Wakeful) -> None:
    wait_for(lambda: os.sched_getscheduler(wakeful.pid) == os.SCHED_IDLE, "its priority")
    assert os.sched_getaffinity(wakeful.pid) == {PROCESSOR}


def test_it_ends_when_it_is_told_to(wakeful: Wakeful) -> None:
    wakeful.close()
    assert is_gone(wakeful.pid)


def test_it_ends_with_whoever_started_it() -> None:
    command = [sys.executable, "-c", HOLDER, str(PROCESSOR)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None
            pid = int(holder.stdout.readline())
            wait_for(lambda: is_running(pid), "it to run")
        finally:
            holder.kill()
    wait_for(lambda: is_gone(pid), "it to be gone")


def test_without_a_processor_there_is_no_process() -> None:
    made = Wakeful(None, None)
    with made.awake():
        assert made.pid is None
    made.close()


def test_a_processor_that_is_not_to_be_had_is_no_reason_to_stop() -> None:
    made = Wakeful(PROCESSOR + 10_000, None)
    wait_for(lambda: is_gone(made.pid), "it to be gone")
    with made.awake():
        pass
    made.close()


def processor_s(pid: int) -> float:
    """What it has had of processors so far."""
    return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[0]) / 1e9


@contextmanager
def busy() -> Iterator[int]:
    """The pid of a process that wants all of the processor, in a session of its own."""
    command = [sys.executable, "-S", "-c", f"import os\nos.sched_setaffinity(0, {{{PROCESSOR}}})\nwhile True: pass"]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            yield process.pid
        finally:
            process.kill()


def groups_for_processors() -> cgroup.Cgroups:
    groups = cgroup.find()
    if groups is None or "cpu" in groups.missing or not (groups.bases["cpu"] / "cpu.idle").exists():
        pytest.skip("no cgroups here that can be idle")
    return groups


def is_modest(wakeful: Wakeful, other: int) -> bool:
    """Whether it takes far less of the processor than another process that wants it as well. Groups take turns,
    whatever is in them: what it must not take is half."""
    assert wakeful.pid is not None
    before = processor_s(wakeful.pid), processor_s(other)
    with wakeful.awake():
        wait_for(lambda: processor_s(other) > before[1] + BUSY_S, "the other program to have the processor")
        return processor_s(wakeful.pid) - before[0] < (processor_s(other) - before[1]) / 5


def test_a_cell_that_works_on_has_the_processor_for_itself(wakeful: Wakeful) -> None:
    """Not only when it wakes up."""
    groups = groups_for_processors()
    wait_for(lambda: is_waiting(wakeful.pid), "it to sleep")
    cell = groups.create(456_789, LIMITS)
    try:
        with busy() as pid:
            cell.add(pid)
            assert is_modest(wakeful, pid)
    finally:
        cell.remove()


def test_it_gives_way_without_a_group_of_its_own() -> None:
    made = Wakeful(PROCESSOR, None)
    wait_for(lambda: is_waiting(made.pid), "it to sleep")
    with busy() as pid:
        assert is_modest(made, pid)
    made.close()


def test_its_group_goes_with_it() -> None:
    groups = groups_for_processors()
    made = Wakeful(PROCESSOR, groups)
    folder = groups.bases["cpu"] / f"{owner.tag()}-idle"
    wait_for(lambda: (folder / "cgroup.procs").read_text("ascii").split() == [str(made.pid)], "it to be in its group")
    made.close()
    assert not folder.exists()
