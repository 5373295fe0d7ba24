"""A program that was started, and all its children, as one thing: stopped, let go on, watched, killed. One that a
zygote has forked is in `forks`.

Without a sandbox (`isolation = "none"`, for debugging one's own code) the program leads its own process group, and
that is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from daemon import fsio
from daemon.errors import HarnessError
from daemon.executor.host.readable import is_readable
from daemon.executor.host.threads import STOPPED_STATES, UNINTERRUPTIBLE, are_stopped, reading, threads_of
from daemon.executor.sandbox.cell_group import FREEZE_LIMIT_S, CellGroup

KILL_LIMIT_S = 30.0
_LOOK_S = 0.01
LOOK_AGAIN_S = 0.5  # by then a disk, or a processor, has served somebody


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code, or the signal that killed it; and which limits of its group it ran into.

    `from_outside`: the host ran out of memory and took some of it, or somebody killed its pid 1, which it cannot do
    itself.
    """

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

    def memory_bytes(self) -> int:
        """What all of it has of memory now, files of its own that lie there too where that is known."""

    def poll(self) -> Ended | None:
        """How it ended, or None while it runs."""

    def strike(self) -> None:
        """Send what kills all of it, and do not wait: `kill` does."""

    def kill(self) -> Ended:
        """Kill all of it, wait until nothing is left, say how the program had ended."""


def keep_to_one(pid: int, processor: int) -> None:
    with suppress(OSError):
        os.sched_setaffinity(pid, {processor})


def private_memory_of(pid: int) -> int:
    """Bytes of a process's own, without files; 0 where it is gone."""
    return _resident_bytes(pid, "RssAnon")


def memory_here() -> int:
    """Bytes that this process has, with what it shares with others that is in no file."""
    return _resident_bytes(os.getpid(), "RssAnon", "RssShmem")


def _resident_bytes(pid: int, *kinds: str) -> int:
    """As proc_pid_status(5) counts them."""
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text("utf-8", errors="replace").splitlines()
        found = dict(line.split(":", 1) for line in lines if ":" in line)
        return sum(int(found[kind].split()[0]) * 1024 for kind in kinds if kind in found)
    return 0


def as_ended(return_code: int, group: CellGroup | None = None) -> Ended:
    """`return_code` as `subprocess` has it: below zero the number of a signal."""
    killed = group is not None and group.oom_killed()
    oom_killed = killed and group is not None and group.wanted_too_much()
    refused = group.processes_refused() if group is not None else 0
    signal_name = _SIGNAL_NAMES.get(-return_code, f"signal {-return_code}") if return_code < 0 else None
    exit_code = return_code if signal_name is None else None
    return Ended(exit_code, signal_name, oom_killed, refused, from_outside=killed and not oom_killed)


_SIGNAL_NAMES = {int(number): number.name for number in signal.Signals}


class _WithStreams:
    """A process whose output is read as it comes."""

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
            self._process.wait(KILL_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            raise HarnessError(f"process {self._process.pid} does not die") from error


class SandboxedProgram(_WithStreams):
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
        """Whether it is gone, or goes within `timeout_s`, because somebody killed it. If that happened to what
        bubblewrap runs, bubblewrap says it as a shell does (128 + the signal)."""
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


class PlainProgram(_WithStreams):
    """A program without a sandbox, leading its own process group. `folder` is its own, and is removed with it.

    A group is killed by its number, which is the leader's. Once the leader has been waited for and nobody of the group
    is left, somebody else may get that number. So the leader is only looked at until all have been killed, and waited
    for after that.
    """

    def __init__(self, process: subprocess.Popen[bytes], folder: Path | None = None) -> None:
        super().__init__(process)
        self._folder = folder
        self._ended: Ended | None = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + FREEZE_LIMIT_S
        while self.poll() is None and not are_stopped(threads_of(self._process.pid)):
            if time.monotonic() > deadline:
                raise not_stopped([self._process.pid])

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process.returncode is not None:  # it has been waited for
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def keep_to(self, processor: int) -> None:
        keep_to_one(self._process.pid, processor)

    def memory_bytes(self) -> int:
        return private_memory_of(self._process.pid)

    def poll(self) -> Ended | None:
        if self._process.returncode is None:
            try:
                found = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:  # somebody else waited for it
                self._process.poll()
            else:
                return None if found is None else as_ended(_return_code(found))
        return as_ended(self._process.returncode)

    def ended_within(self, timeout_s: float) -> Ended | None:
        """How it ended, if it does within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while (ended := self.poll()) is None and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        return ended

    def strike(self) -> None:
        self._signal(signal.SIGKILL)

    def kill(self) -> Ended:
        if self._ended is None:
            before = self.poll()
            self.strike()
            self.wait_until_dead()
            self._ended = before or as_ended(self._process.returncode)
            self.close_streams()
            if self._folder is not None:
                fsio.remove_tree(self._folder)
        return self._ended


def _return_code(found: os.waitid_result) -> int:
    return found.si_status if found.si_code == os.CLD_EXITED else -found.si_status


def not_stopped(pids: list[int]) -> Exception:
    """Why these processes have not been stopped. They run on, if only from one wait for a disk to the next; or they
    wait where no signal reaches them. Once a kernel has answered, only its own code still reads files in its cell."""
    states = {thread.state for pid in pids for thread in threads_of(pid)} - STOPPED_STATES
    if states == {UNINTERRUPTIBLE} and not _are_reading_on(pids):
        return HarnessError(f"a cell waits inside the kernel and did not stop within {FREEZE_LIMIT_S:.0f} s")
    return RunsOnError(f"states {sorted(states)}")


def _are_reading_on(pids: list[int]) -> bool:
    """Whether a thread that waits for a file gets what it waits for."""
    before = [reading(pid) for pid in pids]
    if not any(before):
        return False
    time.sleep(LOOK_AGAIN_S)
    return before != [reading(pid) for pid in pids]
