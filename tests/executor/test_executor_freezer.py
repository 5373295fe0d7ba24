"""The files that stop a group of processes: what is waited for, and how."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from daemon.executor.host import forks
from daemon.executor.host.forks import ForkedProgram
from daemon.executor.host.threads import Thread, are_stopped, threads_of
from daemon.executor.sandbox import cell_group, cgroup
from daemon.executor.sandbox.policy import CellLimits


@pytest.fixture
def state(tmp_path: Path) -> Path:
    for name in ("switch", "state"):
        (tmp_path / name).write_bytes(b"THAWED\n")
    return tmp_path / "state"


@pytest.fixture
def freezer(state: Path) -> cell_group._Freezer:
    return cell_group._Freezer(state.with_name("switch"), state, stop=b"FROZEN", go=b"THAWED", stopped=b"FROZEN")


def test_who_waits_for_a_member_to_stop_leaves_it_a_processor(
    freezer: cell_group._Freezer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_group.time, "sleep", lambda _: state.write_bytes(b"FROZEN\n"))
    assert freezer.freeze()
    assert state.with_name("switch").read_bytes() == b"FROZEN\n"
    freezer.thaw()
    assert state.with_name("switch").read_bytes() == b"THAWED\n"


def test_a_group_that_stands_at_once_is_not_waited_for(
    freezer: cell_group._Freezer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_group.time, "sleep", lambda _: pytest.fail("nobody had to wait"))
    state.write_bytes(b"FROZEN\n")
    assert freezer.freeze()


def test_a_group_that_never_stands_is_told(freezer: cell_group._Freezer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_group, "FREEZE_LIMIT_S", 0.02)
    assert not freezer.freeze()


def test_a_freezer_leaves_no_descriptor_open(freezer: cell_group._Freezer, state: Path) -> None:
    """Neither when it is closed, as after each cell, nor where one of its files is gone when the other is opened."""
    freezer.close()
    assert _open_below(state.parent) == []
    freezer.thaw()
    assert len(_open_below(state.parent)) == 2
    freezer.close()
    assert _open_below(state.parent) == []
    state.unlink()
    with pytest.raises(FileNotFoundError):
        freezer.thaw()
    assert _open_below(state.parent) == []


def _open_below(folder: Path) -> list[Path]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.append(descriptor.readlink())
    return [path for path in found if path.is_relative_to(folder)]


@pytest.fixture
def bereaved(tmp_path: Path) -> cell_group.V1Group:
    """The group of a cell, said to stand, where the kernel has killed a member for want of memory; who is left runs."""
    limits = CellLimits(memory_bytes=1, processes=1, open_files=1, file_bytes=1, tmp_bytes=1, tmp_inodes=1)
    for controller in ("freezer", "memory"):
        (tmp_path / controller).mkdir()
    group = cell_group.V1Group({one: tmp_path / one for one in ("freezer", "memory")}, "cell", limits)
    (tmp_path / "freezer/cell/freezer.state").write_text("FROZEN\n", "ascii")
    (tmp_path / "freezer/cell/tasks").write_text(f"{os.getpid()}\n", "ascii")
    (tmp_path / "memory/cell/memory.oom_control").write_text("under_oom 0\noom_kill 1\n", "ascii")
    return group


def test_who_was_killed_for_want_of_memory_is_gone_before_a_group_stands(
    bereaved: cell_group.V1Group, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = tmp_path / "freezer/cell/tasks"
    monkeypatch.setattr(cell_group.time, "sleep", lambda _: tasks.write_text("", "ascii"))
    assert bereaved.freeze()
    assert not tasks.read_text("ascii")
    tasks.write_text(f"{os.getpid()}\n", "ascii")
    assert bereaved.freeze()  # nobody has died since


def test_a_group_does_not_stand_while_one_that_was_killed_goes_on(
    bereaved: cell_group.V1Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_group, "FREEZE_LIMIT_S", 0.02)
    assert not bereaved.freeze()


def test_a_member_that_cannot_be_looked_at_is_not_taken_for_gone(
    bereaved: cell_group.V1Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_text = Path.read_text

    def read(path: Path, *how: str) -> str:
        if path.name == "stat":
            raise OSError(errno.EMFILE, "Too many open files")
        return read_text(path, *how)

    monkeypatch.setattr(Path, "read_text", read)
    with pytest.raises(OSError, match="Too many"):
        bereaved.freeze()


def test_processes_that_come_and_go_keep_nobody_from_leaving_a_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listings, moved = iter([["11", "12"], ["13"], []]), []

    def write(_path: Path, text: str, _encoding: str) -> None:
        if text == "11":
            raise ProcessLookupError
        moved.append(text)

    monkeypatch.setattr(cgroup, "_words", lambda _: next(listings))
    monkeypatch.setattr(Path, "write_text", write)
    cgroup._leave_inner_node(tmp_path)
    assert moved == ["12", "13"]


def test_who_stood_still_himself_looks_once_more(
    freezer: cell_group._Freezer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([0.0, 100.0])

    def monotonic() -> float:
        now = next(times)
        state.write_bytes(b"FROZEN\n" if now else b"FREEZING\n")
        return now

    monkeypatch.setattr(cell_group.time, "monotonic", monotonic)
    monkeypatch.setattr(cell_group.os, "pwrite", lambda *_: None)
    assert freezer.freeze()


def test_what_a_freezer_could_not_stop_is_let_go_before_it_gets_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    class Group:
        def freeze(self) -> bool:
            done.append("freeze")
            return False

        def thaw(self) -> None:
            done.append("thaw")

    program = ForkedProgram.__new__(ForkedProgram)
    program._group = Group()  # type: ignore[assignment]
    standing = iter([None, {"7": "1"}, None, {"7": "2"}, {"7": "2"}])

    def stop() -> dict[str, str] | None:
        done.append("signal")
        return next(standing)

    monkeypatch.setattr(program, "_stop_all_running", stop)
    program.freeze()
    assert done == ["freeze", "thaw", *["signal"] * 5]  # until nobody was awake twice in a row


def test_processes_that_wake_each_other_in_turn_are_not_taken_to_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is seen while another one has its turn, until a look strikes one that runs: then the last turn is over."""
    program = ForkedProgram.__new__(ForkedProgram)
    program._group = None
    states = iter("TTTTTTRTTTTT")  # of two processes, look by look
    looks: list[int] = []
    stopped: list[int] = []

    def look(pid: int) -> list[Thread]:
        looks.append(pid)
        turns = min(len(looks), 7)
        return [Thread(str(pid), next(states), f"{turns}")]

    monkeypatch.setattr(program, "_members", lambda: [101, 102])
    monkeypatch.setattr(forks, "threads_of", look)
    monkeypatch.setattr(forks.os, "kill", lambda pid, _number: stopped.append(pid))
    program.freeze()
    assert stopped == [101]
    assert len(looks) == 12


def test_a_thread_that_has_run_between_two_looks_shows_it() -> None:
    """It stands at both."""
    with subprocess.Popen([sys.executable, "-c", _STOPS_ITSELF]) as process:
        try:
            first = _seen_standing(process.pid, None)
            os.kill(process.pid, signal.SIGCONT)
            second = _seen_standing(process.pid, first)
            assert [thread.state for thread in (*first, *second)] == ["T", "T"]
            assert threads_of(process.pid) == second
        finally:
            process.kill()


_STOPS_ITSELF = "import os, signal\nwhile True: os.kill(os.getpid(), signal.SIGSTOP)"


def _seen_standing(pid: int, before: list[Thread] | None) -> list[Thread]:
    """Once it stands where it has not been seen to stand before."""
    deadline = time.monotonic() + 120
    while not are_stopped(threads := threads_of(pid)) or threads == before:
        assert time.monotonic() < deadline, threads
        time.sleep(0.01)
    return threads


def test_a_process_that_cannot_be_looked_at_is_not_taken_for_one_that_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A judge without a descriptor saw no thread of it, and none that runs: it would have timed beside it."""
    mine = threads_of(os.getpid())
    assert mine and not are_stopped(mine)

    def refused(*_: object, **__: object) -> str:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    for call in ("iterdir", "read_text"):
        with monkeypatch.context() as patched:
            patched.setattr(Path, call, refused)
            with pytest.raises(OSError, match="Too many open files"):
                threads_of(os.getpid())
