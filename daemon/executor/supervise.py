"""The only place that starts processes: each with an owner, a way to stop all of it, and nothing left behind.

Theory of operation
-------------------
A sandboxed program is pid 1's child in its own pid namespace. Killing it means SIGKILL to that pid 1, which the kernel turns into
the death of every process in the namespace before pid 1 itself is reaped; then we wait for bubblewrap, and only then is anything
the program left looked at. Freezing uses the cgroup freezer; without one, SIGSTOP to every process whose pid namespace is the
cell's, repeated until a pass finds nobody running (a stopped process cannot fork).

Without a sandbox (`isolation = "none"`, for debugging one's own code) the program leads its own process group, and that is killed.

Start from a thread that outlives the program: the parent-death signal that protects against orphans belongs to the thread.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from daemon.errors import HarnessError
from daemon.executor.sandbox import bubblewrap
from daemon.executor.sandbox.cgroup import CellGroup
from daemon.executor.sandbox.policy import Policy

_PR_SET_PDEATHSIG = 1
_FREEZE_LIMIT_S = 2.0
_STOPPED_STATES = ("T", "t", "Z", "X")


@dataclass(frozen=True)
class Ended:
    """How a program ended: its exit code, or the signal that killed it."""

    exit_code: int | None
    signal: str | None
    oom_killed: bool = False


class Program(Protocol):
    """A started program and all its children, as one thing."""

    stdout_fd: int
    stderr_fd: int

    def freeze(self) -> None:
        """Stop all of it where it stands. Raises `HarnessError` when that cannot be proved."""

    def thaw(self) -> None:
        """Let it run on."""

    def poll(self) -> Ended | None:
        """How it ended, or None while it runs."""

    def kill(self) -> Ended:
        """Kill all of it, wait until nothing is left, say how the program had ended."""


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the thread that started it ends. For the child's side."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _ended(return_code: int, oom_killed: bool) -> Ended:
    """bubblewrap reports a signal of its child as 128 + number, as a shell does."""
    if return_code < 0:
        return Ended(None, signal.Signals(-return_code).name, oom_killed)
    if return_code > 128 and return_code - 128 in iter(signal.Signals):  # noqa: PLR2004
        return Ended(None, signal.Signals(return_code - 128).name, oom_killed)
    return Ended(return_code, None, oom_killed)


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


class SandboxedProgram(_Base):
    """A program behind bubblewrap. `init_pid` is pid 1 of its namespace as the host counts."""

    def __init__(self, process: subprocess.Popen[bytes], init_pid: int, group: CellGroup | None) -> None:
        super().__init__(process)
        self._init_pid = init_pid
        self._pid_namespace = _namespace_of(init_pid)
        self._group = group
        self._ended: Ended | None = None

    def freeze(self) -> None:
        if self._group is not None and self._group.freeze():
            return
        deadline = time.monotonic() + _FREEZE_LIMIT_S
        while self._stop_all_running():
            if time.monotonic() > deadline:
                raise HarnessError("a cell could not be frozen")

    def _stop_all_running(self) -> bool:
        """Send SIGSTOP to every member still running; True when there was one."""
        found = False
        for pid in self._members():
            if _state_of(pid) not in _STOPPED_STATES:
                found = True
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
        return found

    def _members(self) -> list[int]:
        """Processes in the cell's namespace, without its pid 1: that is bubblewrap's reaper, it ignores SIGSTOP."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208
        return [pid for pid in pids if pid != self._init_pid and _namespace_of(pid) == self._pid_namespace]

    def thaw(self) -> None:
        if self._group is not None:
            self._group.thaw()
        for pid in self._members() if self._group is None else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def poll(self) -> Ended | None:
        code = self._process.poll()
        return None if code is None else _ended(code, self._oom_killed())

    def _oom_killed(self) -> bool:
        return self._group is not None and self._group.oom_killed()

    def kill(self) -> Ended:
        if self._ended is None:
            before = self.poll()
            with suppress(ProcessLookupError):
                os.kill(self._init_pid, signal.SIGKILL)
            if self._group is not None:
                self._group.thaw()  # cgroup v1: a frozen process dies only when thawed
            self._process.wait()
            self._ended = before or _ended(self._process.returncode, self._oom_killed())
            self.close_streams()
            if self._group is not None:
                self._group.remove()
        return self._ended


class PlainProgram(_Base):
    """A program without a sandbox, leading its own process group."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        super().__init__(process)
        self._ended: Ended | None = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)
        deadline = time.monotonic() + _FREEZE_LIMIT_S
        while self._process.poll() is None and _state_of(self._process.pid) not in _STOPPED_STATES:
            if time.monotonic() > deadline:
                raise HarnessError("a cell could not be frozen")

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def poll(self) -> Ended | None:
        code = self._process.poll()
        return None if code is None else _ended(code, oom_killed=False)

    def kill(self) -> Ended:
        if self._ended is None:
            before = self.poll()
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._ended = before or _ended(self._process.returncode, oom_killed=False)
            self.close_streams()
        return self._ended


def start_plain(program: list[str], environment: dict[str, str], *, keep_fds: tuple[int, ...]) -> PlainProgram:
    """Start `program` without walls. It must call `die_with_parent` itself."""
    process = subprocess.Popen(  # noqa: S603 - the argv is ours
        program,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=keep_fds,
        env=environment,
        start_new_session=True,
    )
    return PlainProgram(process)


def start_judge(program: list[str], *, keep_fds: tuple[int, ...]) -> PlainProgram:
    """Start a trusted judge with our environment; what it prints goes where our own messages go. It calls `die_with_parent`."""
    process = subprocess.Popen(  # noqa: S603 - the argv is ours
        program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=keep_fds, start_new_session=True
    )
    return PlainProgram(process)


def start_sandboxed(
    policy: Policy, program: list[str], *, group: CellGroup | None, keep_fds: tuple[int, ...], timeout_s: float
) -> SandboxedProgram:
    """Start `program` behind the walls of `policy`, a member of `group` before its first instruction.

    Raises `HarnessError` when bubblewrap cannot build the sandbox.
    """
    if shutil.which(bubblewrap.BWRAP) is None:
        raise HarnessError("bubblewrap is not installed", hint="sudo apt-get install bubblewrap")
    as_root = bubblewrap.running_as_root()
    info_read, info_write = os.pipe()
    gate_read, gate_write = os.pipe()
    userns_read, userns_write = os.pipe() if as_root else (-1, -1)
    inherited = tuple(fd for fd in (info_write, gate_read, userns_read) if fd >= 0)
    argv = bubblewrap.command(
        policy, program, info_fd=info_write, gate_fd=gate_read, userns_fd=userns_read if as_root else None
    )
    process = subprocess.Popen(  # noqa: S603 - the argv is ours
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=(*inherited, *keep_fds),
        env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")},
    )
    for fd in inherited:
        os.close(fd)
    try:
        init_pid = _read_child_pid(info_read, timeout_s)
        if as_root:
            _write_user_map(init_pid, policy.uid)
            os.write(userns_write, b"1")
        if group is not None:
            group.add(init_pid)
        os.write(gate_write, b"1")
        return SandboxedProgram(process, init_pid, group)
    except (HarnessError, OSError) as error:
        process.kill()
        _, complaint = process.communicate()
        reason = complaint.decode("utf-8", "replace").strip() or str(error)
        raise HarnessError(f"the sandbox could not be built: {reason}", hint="evald doctor") from error
    finally:
        for fd in (info_read, gate_write, userns_write):
            if fd >= 0:
                os.close(fd)


def _read_child_pid(fd: int, timeout_s: float) -> int:
    """bubblewrap writes one JSON object with `child-pid` and closes; an early end means it failed (see its stderr)."""
    text = b""
    while not text.rstrip().endswith(b"}"):
        ready, _, _ = select.select([fd], [], [], timeout_s)
        chunk = os.read(fd, 4096) if ready else b""
        if not chunk:
            raise HarnessError("bubblewrap ended before it had built the sandbox")
        text += chunk
    return int(json.loads(text)["child-pid"])


def _write_user_map(pid: int, uid: int) -> None:
    """Map 0 and the cell's uid to themselves: root builds the view, the cell's uid runs in it, no other uid exists."""
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 0 1\n{uid} {uid} 1\n", encoding="ascii")


def _namespace_of(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")  # noqa: PTH115 - the text of the link, not a path
    except OSError:
        return None


def _state_of(pid: int) -> str:
    """One letter from /proc/PID/stat; "X" once the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"
