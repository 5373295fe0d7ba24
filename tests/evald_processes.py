"""`python -m daemon` as a process of its own that need not wait for Python to start: forked from one that has begun.

Theory of operation: starting Python and importing what a daemon needs takes a processor a second or two, is the same
every time, and the suite does it some three hundred times. So a test process keeps one more process, started at the
first need, that has imported it all, has one thread, and forks for each order it gets over a socket. A fork gets its
own environment, folder, streams and arguments, and then runs the module as `python -m` would: a process like any
other, to be signalled, frozen and killed. Its parent is the forking process, which tells over a socket how it ended.

What Python itself reads from the environment while it starts cannot be given to a fork: who wants that otherwise than
the forking process has it gets a Python of his own.
That the command starts from nothing is seen by the tests of the command line, the units, the container and the guests.
"""

from __future__ import annotations

import functools
import gc
import importlib
import io
import json
import os
import random
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from daemon import failpoints

MODULES = (
    "alembic.command",
    "alembic.runtime.migration",
    "daemon.cli.failing",
    "daemon.cli.run",
    "daemon.cli.serve",
    "daemon.cli.store",
    "daemon.cli.sweep",
    "daemon.db.migrate",
    "daemon.http.serving",
    "daemon.service",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
)
_LARGEST_ORDER = 1 << 17
_ENVIRONMENT = dict(os.environ)  # before any test has changed it
_READ_BY_PYTHON = ("PYTHON", "LD_", "LC_", "LANG", "TZ")


class Evald(subprocess.Popen[Any]):
    """`Popen([sys.executable, "-m", "daemon", *arguments], …)` by a fork; of its options `cwd`, `env`, the streams and
    `text` mean what they mean there."""

    _status: socket.socket | None = None

    def __init__(self, *arguments: str, env: Mapping[str, str] | None = None, **options: Any) -> None:
        self._environment = dict(os.environ if env is None else env)
        super().__init__([sys.executable, "-m", "daemon", *arguments], env=self._environment, **options)

    def _execute_child(self, args: list[str], *more: Any) -> None:
        """What `Popen` calls to have the program started."""
        if _read_by_python(self._environment) != _read_by_python(_ENVIRONMENT):
            super()._execute_child(args, *more)
            return
        _, _, _, _, cwd, env, _, _, _, *pipes = more[:15]
        theirs = zip((pipes[0], pipes[3], pipes[5]), (0, 1, 2), strict=True)  # the two ends of each stream in turn
        streams = [standard if fd == -1 else fd for fd, standard in theirs]
        order = {"argv": args[3:], "cwd": str(cwd or Path.cwd()), "env": env}
        self._status, report = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with report:
            socket.send_fds(_parent(), [json.dumps(order).encode()], [*streams, report.fileno()])
        self._close_pipe_fds(*pipes)
        self.pid = int(self._status.recv(64))
        self._child_created = True

    def _try_wait(self, flags: int) -> tuple[int, int]:
        """What `Popen` calls in place of `waitpid`."""
        if self._status is None:
            return super()._try_wait(flags)
        try:
            return self.pid, int(self._status.recv(64, socket.MSG_DONTWAIT if flags & os.WNOHANG else 0))
        except BlockingIOError:
            return 0, 0

    def _internal_poll(self, *more: Any, **and_more: Any) -> int | None:
        if self._status is None:
            return super()._internal_poll(*more, **and_more)
        if self.returncode is None:
            pid, status = self._try_wait(os.WNOHANG)
            if pid:
                self._handle_exitstatus(status)
                self._status.close()
        return self.returncode


def evald(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    with Evald(*arguments, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def _read_by_python(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_BY_PYTHON)}


@functools.cache
def _parent() -> socket.socket:
    """The channel to the process that forks, which is started at the first need and ends when this one does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST_ORDER)
    with theirs:
        command = [sys.executable, __file__, str(theirs.fileno())]
        subprocess.Popen(command, pass_fds=(theirs.fileno(),), cwd=Path(__file__).parents[1], env=_ENVIRONMENT)
    return ours


# -- the process that forks -----------------------------------------------------------------------------------------


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Fork for every order. Returns the order in a fork that has become what was ordered, None when all is over."""
    told, tell = socket.socketpair()
    tell.setblocking(False)
    signal.set_wakeup_fd(tell.fileno())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    reports: dict[int, socket.socket] = {}
    while True:
        ready, _, _ = select.select([channel, told], [], [])
        if told in ready:
            told.recv(4096)
            _report_the_dead(reports)
        if channel not in ready:
            continue
        word, fds, _, _ = socket.recv_fds(channel, _LARGEST_ORDER, 4)
        if not word:
            return None
        assert len([*Path("/proc/self/task").iterdir()]) == 1, "of several threads one may hold a lock"
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for inherited in (channel, told, tell, *reports.values()):
                inherited.close()
            order: dict[str, Any] = json.loads(word)
            _become(order, fds)
            return order
        for fd in fds[:3]:
            os.close(fd)
        reports[pid] = socket.socket(fileno=fds[3])
        reports[pid].send(str(pid).encode())


def _report_the_dead(reports: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            with reports.pop(ended[0]) as report, suppress(OSError):  # nobody may want to know
                report.send(str(ended[1]).encode())


def _become(order: dict[str, Any], fds: list[int]) -> None:
    for target, fd in enumerate(fds[:3]):
        os.dup2(fd, target)
    for fd in fds:
        os.close(fd)
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    at_once = bool(os.environ.get("PYTHONUNBUFFERED"))
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.__stdout__ = _stream(1, "strict", write_through=at_once)
    sys.stderr = sys.__stderr__ = _stream(2, "backslashreplace", line_buffering=True, write_through=at_once)
    sys.argv[1:] = order["argv"]
    importlib.reload(failpoints)  # it has read the environment
    random.seed()


def _stream(fd: int, errors: str, **buffering: bool) -> io.TextIOWrapper:
    return io.TextIOWrapper(open(fd, "wb", closefd=False), errors=errors, **buffering)


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()
    if serve(socket.socket(fileno=int(sys.argv[1]))) is not None:
        runpy.run_module("daemon", run_name="__main__", alter_sys=True)
