"""The judge's side of zygotes: starting one per kind of cell, and having cells forked from it.

Theory of operation: a fork is ordered over the zygote's channel, with the descriptors that the cell will have. The
cell's pid 1 answers on a socket of its own. The operating system adds its pid, as this side counts, so nobody has to
believe a number. It waits until it is in its cgroup and told to go on. What goes wrong on the way is our fault and no
bundle's: nothing of one has run yet. A zygote that has ended is replaced at the next cell.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon import fsio
from daemon.errors import HarnessError, Hindered
from daemon.executor.host.forks import ForkedProgram
from daemon.executor.host.processes import SandboxedProgram
from daemon.executor.host.readable import is_readable
from daemon.executor.host.supervise import start_sandboxed
from daemon.executor.sandbox import bubblewrap
from daemon.executor.sandbox.cell_group import CellGroup
from daemon.executor.sandbox.policy import Policy
from daemon.executor.shared import protocol

_FIRST_TO_GO = "1000"  # proc(5)
_END_S = 1.0  # a zygote that has lost its forks ends soon, or has another fault
_ERRNO = re.compile(r"\[Errno (\d{1,3})\]")
_UCRED = struct.Struct("3i")  # pid, uid, gid (unix(7))
_ARGV = (sys.executable, "-I", "-B", "-X", "faulthandler", "-m", "daemon.executor.inside.zygote")


class ZygoteEnded(Hindered):
    """There is nothing left to fork from."""


@dataclass(frozen=True)
class Birth:
    """One cell to be: its uid on the host (as root), its walls, its group, and how long it may take to come up. With a
    `plan` it runs below a tool (`under_tool`), whose report goes to `report_fd`."""

    uid: int
    walls: Mapping[str, object]
    group: CellGroup | None
    timeout_s: float
    plan: Mapping[str, object] | None = None
    report_fd: int = -1


class Zygote:
    """One zygote. Not for several threads."""

    def __init__(self, policy: Policy, timeout_s: float) -> None:
        """Raises `HarnessError` when the sandbox cannot be built."""
        self._policy = policy
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._is_ready = False
        self._reader = protocol.Reader(protocol.MAX_FROM_CELL)
        self._channel, theirs = socket.socketpair()
        try:
            argv = [*_ARGV, str(theirs.fileno())]
            self._program: SandboxedProgram = start_sandboxed(
                policy, argv, keep_fds=(theirs.fileno(),), timeout_s=timeout_s
            )
        except BaseException:
            self._channel.close()
            raise
        finally:
            theirs.close()

    @property
    def is_alive(self) -> bool:
        return self._program.is_alive

    def close(self) -> None:
        """End it and every cell of it."""
        self._channel.close()
        self._program.kill()

    def await_ready(self) -> None:
        """Wait until it has imported what cells need. Raises `HarnessError`; `Hindered` where it was killed or late."""
        if self._is_ready:
            return
        self._channel.settimeout(max(self._deadline - time.monotonic(), 0.001))
        try:
            protocol.receive(self._channel, self._reader)
        except (protocol.ClosedError, protocol.ProtocolError, TimeoutError) as error:
            self._deadline = time.monotonic() + self._timeout_s  # who asks next waits as long for one that is late
            is_hindered = isinstance(error, TimeoutError) or self._program.was_killed(_END_S)
            kind = Hindered if is_hindered else HarnessError
            raise kind(f"a cell did not start: {self._words()}", hint="evald doctor") from error
        self._is_ready = True

    def fork(self, birth: Birth, channel_fd: int) -> ForkedProgram:
        """Have a zygote that is ready fork a cell, which is told to start. Raises `HarnessError`."""
        with ExitStack() as ours:
            try:
                with ExitStack() as theirs:
                    status, their_status = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                    ours.enter_context(status)
                    theirs.enter_context(their_status)
                    out, their_out = _pipe(ours, theirs)
                    err, their_err = _pipe(ours, theirs)
                    status.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
                    self._channel.settimeout(birth.timeout_s)
                    report = () if birth.plan is None else (birth.report_fd,)
                    given = (channel_fd, their_out, their_err, their_status.fileno(), *report)
                    protocol.send(self._channel, self._order(birth), given)
                program = self._raise_up(birth, status, out, err)
            except (OSError, protocol.ClosedError, HarnessError) as error:
                ours.close()  # a cell that waits for its "go" ends then: a group with a member cannot be removed
                if birth.group is not None:
                    with suppress(OSError):  # what has happened is told, not this
                        birth.group.remove()
                if self._program.has_ended(_END_S):
                    raise ZygoteEnded(f"the zygote ended: {self._words()}", hint="evald doctor") from error
                if isinstance(error, HarnessError):
                    raise
                said = f"{error}; {self._words()}"
                hint = (isinstance(error, OSError) and fsio.hint_of_room(error)) or "evald doctor"
                raise HarnessError(f"a cell could not be forked: {said}", hint=hint) from error
            ours.pop_all()
        return program

    def _order(self, birth: Birth) -> protocol.Message:
        limits = self._policy.limits
        as_root = bubblewrap.running_as_root()
        view = {
            "writable": list(self._policy.writable_tmpfs),
            "size_bytes": limits.tmp_bytes,
            "inodes": limits.tmp_inodes,
            "visible": list(self._policy.visible_below_tmpfs),
        }
        order = {"uid": birth.uid if as_root else None, "view": view, "walls": dict(birth.walls)}
        return {"type": "fork", "plan": None if birth.plan is None else dict(birth.plan), **order}

    def _raise_up(self, birth: Birth, status: socket.socket, stdout_fd: int, stderr_fd: int) -> ForkedProgram:
        """From the first word of a cell's pid 1 to the cell on its way."""
        if not is_readable(status, birth.timeout_s):
            raise Hindered("a cell did not start: its zygote does not answer")
        word, ancillary, _, _ = status.recvmsg(4096, socket.CMSG_SPACE(_UCRED.size))
        if word != b"born":
            said = word.decode("utf-8", "replace") or self._words()
            refused = _ERRNO.search(said)
            hint = fsio.hint_of_room(OSError(int(refused[1]), said)) if refused else None
            raise HarnessError(f"a cell could not be forked: {said}", hint=hint or "evald doctor")
        pid = _sender(ancillary)
        if birth.group is not None:
            birth.group.add(pid)
        with suppress(OSError):  # of a host that runs out of memory the kernel takes cells first; they inherit this
            Path(f"/proc/{pid}/oom_score_adj").write_text(_FIRST_TO_GO, "ascii")
        program = ForkedProgram(pid, status, stdout_fd, stderr_fd, birth.group)
        status.send(b"go")
        return program

    def _words(self) -> str:
        return self._program.last_words().strip() or "it said nothing"


class Zygotes:
    """The zygotes of one judge, one for each kind of cell. `lock`: held while a cell is forked, because several threads
    may want some."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], Zygote] = {}
        self.lock = threading.Lock()

    def of(self, policy: Policy, timeout_s: float) -> Zygote:
        """The zygote for cells of this policy, started if there is none or it has ended. Raises `HarnessError`."""
        key = (policy.read_only, tuple(sorted(policy.environment.items())), policy.device_nodes)
        zygote = self._known.get(key)
        if zygote is None or not zygote.is_alive:
            if zygote is not None:
                zygote.close()
            zygote = self._known[key] = Zygote(policy, timeout_s)
        return zygote

    def close(self) -> None:
        """End them all."""
        for zygote in self._known.values():
            zygote.close()
        self._known.clear()


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """The ends of a pipe, each closed with its stack."""
    ends = os.pipe()
    for stack, fd in zip((reader, writer), ends, strict=True):
        stack.callback(os.close, fd)
    return ends


def _sender(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
            return int(_UCRED.unpack(payload[: _UCRED.size])[0])
    raise HarnessError("the kernel did not say who a cell is")
