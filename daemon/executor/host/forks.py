"""A cell, with all its children, as one thing: stopped, let go on, watched, killed.

Theory of operation: a cell is forked by its zygote, and is pid 1's child in a pid namespace of its own. To kill it is
to send SIGKILL to that pid 1 (by pidfd, because its number may have been reused by then). The operating system turns
that into the death of every process in the namespace, before pid 1 itself is gone. Only then is anything looked at that
the cell left.

Freezing uses the cgroup freezer. Without one, every process whose pid namespace is the cell's gets SIGSTOP, again and
again, until two passes in a row find the same threads, all standing, and none of them ran in between. One pass proves
nothing: processes that wake each other in turn (SIGCONT, then SIGSTOP to oneself) can each be seen to stand. A thread
that was woken after one look and stands at the next has been switched to and from in the meantime, and the operating
system counts that.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from dataclasses import replace

from daemon.errors import HarnessError
from daemon.executor.host.processes import (
    KILL_LIMIT_S,
    LOOK_AGAIN_S,
    Ended,
    as_ended,
    keep_to_one,
    not_stopped,
    private_memory_of,
)
from daemon.executor.host.readable import is_readable
from daemon.executor.host.threads import are_stopped, threads_of
from daemon.executor.sandbox.cell_group import FREEZE_LIMIT_S, CellGroup
from daemon.executor.sandbox.owner import time_spent

_LONGEST_KILL_S = 300.0


class ForkedProgram:
    """A cell that a zygote has forked. `init_pid`: pid 1 of its namespace, as the host counts. `status`: where pid 1
    says how the cell ended."""

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

    @property
    def is_over(self) -> bool:
        """Whether all of it is known to be dead."""
        return self._ended is not None

    def freeze(self) -> None:
        if self._group is not None:
            if self._group.freeze():
                self._by_signal = False
                return
            self._group.thaw()  # a process that the freezer holds would never be seen to stop for a signal
        self._by_signal = True
        deadline, before = time.monotonic() + FREEZE_LIMIT_S, None
        while (standing := self._stop_all_running()) is None or standing != before:
            before = standing
            if time.monotonic() > deadline:
                raise not_stopped(self._members())

    def _stop_all_running(self) -> dict[str, str] | None:
        """Send SIGSTOP to every member that still runs. Returns, for each thread that could run again, how often it was
        switched to. None when a member ran, or will: the pid 1 of a cell that has been told to start forks it in a
        moment."""
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
            keep_to_one(pid, processor)

    def memory_bytes(self) -> int:
        held = self._group.memory_bytes() if self._group is not None else None
        return sum(map(private_memory_of, self._members())) if held is None else held

    def poll(self) -> Ended | None:
        if self._ended is not None:
            return self._ended
        if self._code is None:
            self._hear()
        return None if self._code is None else self._as_ended(self._code)

    def _as_ended(self, code: int) -> Ended:
        ended = as_ended(code, self._group)
        return replace(ended, from_outside=ended.from_outside or (self._from_outside and not ended.oom_killed))

    def _hear(self) -> None:
        """What pid 1 said. Nothing when it was killed itself, which nobody in its namespace can do."""
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
        """Wait until all of it is dead: a pidfd is readable once its process is gone, and pid 1 goes last. Two hundred
        processes with all the memory maps or semaphores that they may have take longer than others. That is not the
        host's fault, and a processor is at work on it then.

        Raises `HarnessError` when something in the operating system keeps it: the slot is then not fit for another
        cell.
        """
        deadline = time.monotonic() + _LONGEST_KILL_S
        while not is_readable(self._init_fd, KILL_LIMIT_S):
            if time.monotonic() > deadline or not self._is_going():
                raise HarnessError(f"process {self._init_pid} does not die")

    def _is_going(self) -> bool:
        """Whether any of its processes, all of which have been killed, uses a processor, to give back what it has."""
        before = self._spent()
        time.sleep(LOOK_AGAIN_S)
        return self._spent() != before

    def _spent(self) -> list[tuple[int, list[str]]]:
        return time_spent([*self._members(), self._init_pid])


def _namespace_of(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115 - the text of the link, not a path
    except OSError:
        return None
