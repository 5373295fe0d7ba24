"""A program that was started, and all its children, as one thing: stopped, let go on, watched, killed.

Theory of operation: a cell is forked by its zygote and is pid 1's child in a pid namespace of its own. Killing it means
SIGKILL to that pid 1 (by pidfd: its number may have been reused by then), which the kernel turns into the death of
every process in the namespace before pid 1 itself is gone; only then is anything the cell left looked at. Freezing uses
the cgroup freezer; without one, SIGSTOP to every process whose pid namespace is the cell's, repeated until two passes
in a row find the same threads, all standing, and none of them ran in between. One pass proves nothing: processes that
wake each other in turn (SIGCONT, then SIGSTOP to oneself) can each be seen to stand. Who was woken after one look and
stands at the next has been switched to and from in the meantime, and the kernel counts that.

Without a sandbox (`isolation = "none"`, for debugging one's own code) the program leads its own process group, and
that is killed.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from daemon import fsio
from daemon.errors import HarnessError
from daemon.executor.host.readable import is_readable
from daemon.executor.host.threads import STOPPED_STATES, UNINTERRUPTIBLE, are_stopped, reading, threads_of
from daemon.executor.sandbox.cell_group import FREEZE_LIMIT_S, CellGroup
from daemon.executor.sandbox.owner import time_spent

_KILL_LIMIT_S, _LONGEST_KILL_S = 30.0, 300.0
_LOOK_AGAIN_S = 0.5  # a disk has given somebody something by then, and a processor


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code, or the signal that killed it; and which limits of its group it ran into.
    `from_outside`: the host ran out of memory and took some of it, or somebody killed its pid 1, which it cannot do
    itself."""

    exit_code: int | None
    signal: str | None
    oom_killed: bool = False
    processes_refused: int = 0
    from_outside: bool = False


class RunsOnError(Exception):
    """Something in a program did not stop when it was told to."""


class Program(Protocol):
    """A started program and all its children, as one thing."""

    stdout_fd: int
    stderr_fd: int

    def freeze(self) -> None:
        """Stop all of it where it stands. Raises `RunsOnError` when some of it does not stop, `HarnessError` when
        nothing runs but some waits inside the kernel, for a disk or a driver, where nothing can stop it."""

    def thaw(self) -> None:
        """Let it run on."""

    def keep_to(self, processor: int) -> None:
        """Keep the first thread of each of its processes to one processor, as far as that is allowed."""

    def poll(self) -> Ended | None:
        """How it ended, or None while it runs."""

    def strike(self) -> None:
        """Send what kills all of it, and do not wait: `kill` does."""

    def kill(self) -> Ended:
        """Kill all of it, wait until nothing is left, say how the program had ended."""


def _keep_to(pid: int, processor: int) -> None:
    with suppress(OSError):
        os.sched_setaffinity(pid, {processor})


def _ended(return_code: int, group: CellGroup | None = None) -> Ended:
    """`return_code` as `subprocess` has it: below zero the number of a signal."""
    killed = group is not None and group.oom_killed()
    oom_killed = killed and group is not None and group.wanted_too_much()
    refused = group.processes_refused() if group is not None else 0
    signal_name = _SIGNAL_NAMES.get(-return_code, f"signal {-return_code}") if return_code < 0 else None
    exit_code = return_code if signal_name is None else None
    return Ended(exit_code, signal_name, oom_killed, refused, from_outside=killed and not oom_killed)


_SIGNAL_NAMES = {int(number): number.name for number in signal.Signals}


class _Base:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
        self.stdout_fd = process.stdout.fileno() if process.stdout else -1
        self.stderr_fd = process.stderr.fileno() if process.stderr else -1
        for stream in self._streams:
            os.set_blocking(stream.fileno(), False)

    def close_streams(self) -> None:
        for stream in self._streams:
            stream.close()

    def wait_until_dead(self) -> None:
        """Raises `HarnessError` when something in the kernel keeps it: the slot is not fit for another cell then."""
        try:
            self._process.wait(_KILL_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise HarnessError(f"process {self._process.pid} does not die") from error


class SandboxedProgram(_Base):
    """A trusted program behind bubblewrap. `init_pid` is pid 1 of its namespace as the host counts."""

    def __init__(self, process: subprocess.Popen[bytes], init_pid: int) -> None:
        super().__init__(process)
        self._init_fd = os.pidfd_open(init_pid)

    @property
    def is_alive(self) -> bool:
        """Whether its pid 1 is: bubblewrap itself outlives that one by a moment."""
        return self._process.poll() is None and not self.has_ended(0)

    def has_ended(self, timeout_s: float) -> bool:
        """Whether its pid 1 is gone, or goes within `timeout_s`."""
        return is_readable(self._init_fd, timeout_s)

    def was_killed(self, timeout_s: float) -> bool:
        """Whether it is gone, or goes within `timeout_s`, because somebody killed it: bubblewrap says that of what it
        runs as a shell does."""
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(timeout_s) in (-signal.SIGKILL, 128 + signal.SIGKILL)
        return False

    def last_words(self) -> str:
        """What it has written to stderr and nobody has read yet."""
        with suppress(BlockingIOError, OSError):
            return os.read(self.stderr_fd, 1 << 16).decode("utf-8", "replace")[-2000:]
        return ""

    def kill(self) -> None:
        """Kill it and everything in its namespace or below, every cell that was forked from it."""
        if self._init_fd < 0:
            return
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._init_fd, signal.SIGKILL)
        self.wait_until_dead()
        self.close_streams()
        os.close(self._init_fd)
        self._init_fd = -1


class ForkedProgram:
    """A cell that a zygote has forked. `init_pid` is pid 1 of its namespace as the host counts; `status` is where that
    one says how the cell ended."""

    def __init__(
        self, init_pid: int, status: socket.socket, stdout_fd: int, stderr_fd: int, group: CellGroup | None
    ) -> None:
        self._init_pid = init_pid
        self._init_fd = os.pidfd_open(init_pid)
        self._pid_namespace = _namespace_of(init_pid)
        self._status = status
        self._group = group
        self._code: int | None = None
        self._ended: Ended | None = None
        self._is_struck = False
        self._from_outside = False
        self._by_signal = False  # how it was frozen the last time: a host may have cgroups and no freezer
        self.stdout_fd, self.stderr_fd = stdout_fd, stderr_fd
        for fd in (stdout_fd, stderr_fd):
            os.set_blocking(fd, False)
        status.setblocking(False)

    def freeze(self) -> None:
        if self._group is not None:
            if self._group.freeze():
                self._by_signal = False
                return
            self._group.thaw()  # what its freezer holds already would never be seen to stop for a signal
        self._by_signal = True
        deadline, before = time.monotonic() + FREEZE_LIMIT_S, None
        while (standing := self._stop_all_running()) is None or standing != before:
            before = standing
            if time.monotonic() > deadline:
                raise _not_stopped(self._members())

    def _stop_all_running(self) -> dict[str, str] | None:
        """Send SIGSTOP to every member still running; None when there was one, or will be: a cell that has been told to
        start is forked by its pid 1 in a moment. Else how often each thread that could run again was switched to."""
        members, switches = self._members(), dict[str, str]()
        runs_on = not members and self.poll() is None
        for pid in members:
            threads = threads_of(pid)
            if are_stopped(threads):
                switches |= {one.number: one.switches for one in threads if not one.has_ended}
                continue
            runs_on = True
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        return None if runs_on else switches

    def _members(self) -> list[int]:
        """Processes in the cell's namespace, without its pid 1: that one only waits."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
        return [pid for pid in pids if pid != self._init_pid and _namespace_of(pid) == self._pid_namespace]

    def thaw(self) -> None:
        if self._group is not None:
            self._group.thaw()
        for pid in self._members() if self._by_signal else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def keep_to(self, processor: int) -> None:
        for pid in self._members():
            _keep_to(pid, processor)

    def poll(self) -> Ended | None:
        if self._ended is not None:
            return self._ended
        if self._code is None:
            self._hear()
        return None if self._code is None else self._as_ended(self._code)

    def _as_ended(self, code: int) -> Ended:
        ended = _ended(code, self._group)
        return replace(ended, from_outside=ended.from_outside or (self._from_outside and not ended.oom_killed))

    def _hear(self) -> None:
        """What pid 1 said; nothing at all when it was killed itself, which nobody in its namespace can do."""
        try:
            word = self._status.recv(64)
        except BlockingIOError:
            return
        except OSError:
            word = b""
        text = word.decode("ascii", "replace").removeprefix("ended ")
        self._code = int(text) if text.lstrip("-").isdigit() else -signal.SIGKILL
        self._from_outside = not word and not self._is_struck

    def strike(self) -> None:
        if self._ended is not None or self._is_struck:
            return
        self.poll()  # how it ended by itself, if it has
        self._is_struck = True
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._init_fd, signal.SIGKILL)
        if self._group is not None:
            self._group.thaw()  # cgroup v1: a frozen process dies only when thawed

    def kill(self) -> Ended:
        if self._ended is None:
            self.strike()
            self._wait_until_dead()
            self._ended = self._as_ended(-signal.SIGKILL if self._code is None else self._code)
            for fd in (self.stdout_fd, self.stderr_fd, self._init_fd):
                os.close(fd)
            self._status.close()
            if self._group is not None:
                self._group.remove()
        return self._ended

    def _wait_until_dead(self) -> None:
        """A pidfd is readable once its process is gone, and pid 1 goes last. Two hundred processes with all the memory
        maps or semaphores they may have take longer than others, and it is theirs: the kernel is at work on it then.
        Raises `HarnessError` when something in the kernel keeps it: the slot is not fit for another cell then."""
        deadline = time.monotonic() + _LONGEST_KILL_S
        while not is_readable(self._init_fd, _KILL_LIMIT_S):
            if time.monotonic() > deadline or not self._is_going():
                raise HarnessError(f"process {self._init_pid} does not die")

    def _is_going(self) -> bool:
        """Whether any of its processes, all of which have been killed, uses a processor: to give back what it has."""
        before = self._spent()
        time.sleep(_LOOK_AGAIN_S)
        return self._spent() != before

    def _spent(self) -> list[tuple[int, list[str]]]:
        return time_spent([*self._members(), self._init_pid])


class PlainProgram(_Base):
    """A program without a sandbox, leading its own process group. `folder` is its own and goes with it."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path | None = None) -> None:
        super().__init__(process)
        self._folder = folder
        self._ended: Ended | None = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + FREEZE_LIMIT_S
        while self._process.poll() is None and not are_stopped(threads_of(self._process.pid)):
            if time.monotonic() > deadline:
                raise _not_stopped([self._process.pid])

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def keep_to(self, processor: int) -> None:
        _keep_to(self._process.pid, processor)

    def poll(self) -> Ended | None:
        code = self._process.poll()
        return None if code is None else _ended(code)

    def strike(self) -> None:
        self._signal(signal.SIGKILL)

    def kill(self) -> Ended:
        if self._ended is None:
            before = self.poll()
            self.strike()
            self.wait_until_dead()
            self._ended = before or _ended(self._process.returncode)
            self.close_streams()
            if self._folder is not None:
                fsio.remove_tree(self._folder)
        return self._ended


def _namespace_of(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115 - the text of the link, not a path
    except OSError:
        return None


def _not_stopped(pids: list[int]) -> Exception:
    """Why these processes have not been stopped: they run on, if only from one wait for a disk to the next, or wait
    where no signal reaches them. Once a kernel has answered, nobody but itself has anything read in its cell."""
    states = {thread.state for pid in pids for thread in threads_of(pid)} - STOPPED_STATES
    if states == {UNINTERRUPTIBLE} and not _are_reading_on(pids):
        return HarnessError(f"a cell waits inside the kernel and did not stop within {FREEZE_LIMIT_S:.0f} s")
    return RunsOnError(f"states {sorted(states)}")


def _are_reading_on(pids: list[int]) -> bool:
    """Whether a thread that waits for a file gets what it waits for."""
    before = [reading(pid) for pid in pids]
    if not any(before):
        return False
    time.sleep(_LOOK_AGAIN_S)
    return before != [reading(pid) for pid in pids]
