"""A program that was told to stop and did not: whose fault that is."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest

from daemon.errors import HarnessError
from daemon.executor.host import forks, processes, threads
from daemon.executor.host.forks import ForkedProgram
from daemon.executor.host.processes import PlainProgram, RunsOnError
from daemon.executor.host.supervise import start_plain
from daemon.executor.sandbox import cgroup, owner

# A parent whose child has its memory waits inside the kernel until that one lets go of it, which no signal but one
# that kills cuts short.
_WAITS_IN_THE_KERNEL = """
import ctypes
libc = ctypes.CDLL(None)
if libc.vfork() == 0:
    libc.pause()
"""


@pytest.fixture
def waiting() -> Iterator[PlainProgram]:
    program = start_plain([sys.executable, "-I", "-c", _WAITS_IN_THE_KERNEL], {"HOME": "/tmp/x"}, keep_fds=())
    deadline = time.monotonic() + 60
    while threads._look_at(Path(f"/proc/{program._process.pid}")).state != "D":
        assert time.monotonic() < deadline and program.poll() is None
        time.sleep(0.01)
    yield program
    program.kill()


def test_one_that_waits_for_a_child_with_its_memory_stands_when_the_child_does(waiting: PlainProgram) -> None:
    waiting.freeze()
    states = {threads._look_at(task).state for task in Path(f"/proc/{waiting._process.pid}/task").iterdir()}
    assert states == {"D"}


def test_a_group_is_struck_while_its_number_is_its_own_and_never_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the leader has left is struck however long the leader has been gone, and however often one has looked."""
    leaves_one = "import os, time\nif os.fork() == 0:\n    time.sleep(3600)\nos._exit(7)"
    program = start_plain([sys.executable, "-I", "-c", leaves_one], {"HOME": "/tmp/x"}, keep_fds=())
    pid, strike, struck = program._process.pid, os.killpg, list[str]()

    def noted(group: int, number: int) -> None:
        struck.extend(thread.state for thread in threads.threads_of(group))
        strike(group, number)

    monkeypatch.setattr(os, "killpg", noted)
    ended = program.ended_within(120)
    assert ended is not None and (ended.exit_code, ended.signal) == (7, None)
    assert program.poll() == ended
    assert program.kill() == ended
    assert struck == ["Z"], "it has ended, and still has its number"
    program.strike()
    program.thaw()
    assert struck == ["Z"]
    assert threads.threads_of(pid) == [] and program.poll() == ended


def test_how_a_program_ended_is_known_where_somebody_else_waited_for_it() -> None:
    sleeps = [sys.executable, "-I", "-c", "import time; time.sleep(3600)"]
    program = start_plain(sleeps, {"HOME": "/tmp/x"}, keep_fds=())
    assert program.poll() is None and program.ended_within(0.01) is None
    program.strike()
    ended = program.ended_within(120)
    assert ended is not None and ended.signal == "SIGKILL"
    os.waitpid(program._process.pid, 0)
    assert program.poll() is not None
    program.kill()


def test_one_that_the_kernel_keeps_is_not_accused(waiting: PlainProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "FREEZE_LIMIT_S", 0.1)
    monkeypatch.setattr(threads, "_waits_for_child", lambda _: False)
    with pytest.raises(HarnessError, match="inside the kernel"):
        waiting.freeze()


def test_one_that_runs_on_is(waiting: PlainProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_waits_for_child", lambda _: False)
    pid = waiting._process.pid
    assert isinstance(processes.not_stopped([os.getpid()]), RunsOnError)
    assert isinstance(processes.not_stopped([os.getpid(), pid]), RunsOnError)
    assert isinstance(processes.not_stopped([pid]), HarnessError)


@pytest.mark.parametrize(("reads_on", "fault"), [(False, HarnessError), (True, RunsOnError)])
def test_one_that_reads_on_and_on_is_accused_and_one_whose_disk_hangs_is_not(
    waiting: PlainProgram, monkeypatch: pytest.MonkeyPatch, reads_on: bool, fault: type[Exception]
) -> None:
    pid, calls = waiting._process.pid, threads._FORKING
    monkeypatch.setattr(threads, "_FORKING", {})
    monkeypatch.setattr(threads, "_READING", calls)
    looks = threads.reading(pid)
    assert list(looks) == [str(pid)]

    def moved_on(_: float) -> None:
        if reads_on:
            monkeypatch.setattr(threads, "_look_at", lambda task: threads.Thread(task.name, "D", "more"))

    monkeypatch.setattr(processes.time, "sleep", moved_on)
    assert type(processes.not_stopped([pid])) is fault


@pytest.mark.parametrize("is_busy", [True, False])
def test_one_that_takes_long_to_die_is_waited_for_as_long_as_the_kernel_is_at_it(
    monkeypatch: pytest.MonkeyPatch, is_busy: bool
) -> None:
    program = ForkedProgram.__new__(ForkedProgram)
    program._init_fd, program._init_pid = -1, 7
    ends, ticks = iter([False, False, True]), itertools.count()
    monkeypatch.setattr(program, "_members", lambda: [8])
    monkeypatch.setattr(forks, "is_readable", lambda *_: next(ends))
    monkeypatch.setattr(owner, "stat_of", lambda _: [str(next(ticks) if is_busy else 0)] * 20)
    monkeypatch.setattr(forks, "LOOK_AGAIN_S", 0)
    with nullcontext() if is_busy else pytest.raises(HarnessError, match="process 7 does not die"):
        program._wait_until_dead()
    assert list(ends) == ([] if is_busy else [False, True])


@pytest.mark.parametrize(("patience_s", "is_busy", "is_left"), [(60, True, False), (60, False, True), (0, True, True)])
def test_a_judge_begins_when_what_a_dead_one_had_has_been_given_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, patience_s: float, is_busy: bool, is_left: bool
) -> None:
    group = tmp_path / "somebody-1-7"
    group.mkdir()
    looks, ticks = iter(range(40)), itertools.count()
    monkeypatch.setattr(cgroup, "_DESTROY_LIMIT_S", 0)
    monkeypatch.setattr(cgroup, "_members", lambda _: [8] if next(looks) < 30 else [])
    monkeypatch.setattr(cgroup.os, "kill", lambda *_: None)
    monkeypatch.setattr(cgroup.time, "sleep", lambda _: None)
    monkeypatch.setattr(owner, "is_dead", lambda _: True)
    monkeypatch.setattr(owner, "stat_of", lambda _: [str(next(ticks) if is_busy else 0)] * 20)
    cgroup.Cgroups(1, {"freezer": tmp_path}).sweep(patience_s)
    assert group.exists() is is_left


def test_one_that_has_gone_has_no_threads() -> None:
    program = start_plain(["/bin/true"], {"HOME": "/tmp/x", "PATH": "/bin"}, keep_fds=())
    pid = program._process.pid
    program.kill()
    assert threads.threads_of(pid) == []
