"""evald's processes without the wait for Python to start: forked from one that has imported what they need.

Theory of operation: starting Python and importing what a daemon needs takes a processor a second or two, torch for a
judge takes two more, both are the same every time, and the suite does it hundreds of times. So a test process keeps one
more process, started at the first need, that imports it, has one thread, and forks for each order it gets over a
socket. A fork gets its own environment, folder, streams, descriptors and arguments, and then runs its module as
`python -m` would: a process like any other, to be signalled, frozen and killed. It is made a child of whoever ordered
it (CLONE_PARENT of clone(2)), who waits for it as for any other, and whose death it dies by when it asks for that.

A daemon that may judge is given such a process of its own as it begins, a child that forks its judges and builders.
What Python itself reads from the environment while it starts cannot be given to a fork: who wants that otherwise than
the forking process has it gets a Python of his own, and so has a judge that uses a GPU.
That daemons and judges start from nothing is seen by the tests of the command line, the units, the container and the
guests.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import importlib
import io
import json
import os
import platform
import random
import runpy
import signal
import socket
import subprocess
import sys
import threading
import types
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from daemon import failpoints
from daemon.executor.host import supervise

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
    "daemon.opening",
    "psycopg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite",
)
_HELD = "held_rehearsal"
JUDGING_MODULES = (
    "daemon.executor.programs.jobs",
    "daemon.executor.programs.builder",
    "daemon.executor.programs.judge",
)
_JUDGING = "daemon.executor.programs.start"
_LARGEST_ORDER = 1 << 17
_MOST_FDS = 16
_LAST_WORDS_CHARS = 4000
_ENVIRONMENT = dict(os.environ)  # before any test has changed it
_READ_BY_PYTHON = ("PYTHON", "LD_", "LC_", "LANG", "TZ")
# Where libraries begin threads when they are imported, none could be forked; and what a judge's environment says to
# libraries that ask while they are imported (`supervise.start_judge`).
_WHILE_IMPORTING = {"OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": ""}

_SYS_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE_PARENT, _CHILD_CLEARTID, _CHILD_SETTID = 0x8000, 0x200000, 0x1000000
_PR_GET_TID_ADDRESS = 40


_LONG_LIVED: weakref.WeakSet[Forked] = weakref.WeakSet()


class Forked(subprocess.Popen[Any]):
    """`Popen` of `python -m …` by a fork; of its options `cwd`, `env`, `pass_fds`, `start_new_session`, the streams
    and `text` mean what they mean there. Where it cannot be forked it is started."""

    def __init__(self, args: list[str], *, env: Mapping[str, str] | None = None, **options: Any) -> None:
        self._environment = dict(os.environ if env is None else env)
        self._leads = bool(options.get("start_new_session"))
        self._log = getattr(options.get("stdout"), "name", None)
        super().__init__(args, env=self._environment, **options)
        if args[3:4] in (["run"], ["serve"]):
            _LONG_LIVED.add(self)

    def last_words(self) -> str:
        """The end of what it has written; of one that has ended, where it writes into no file."""
        if self._log is not None:
            return Path(self._log).read_text("utf-8", "replace")[-_LAST_WORDS_CHARS:]
        try:
            return str(self.communicate(timeout=10)[0])[-_LAST_WORDS_CHARS:]
        except subprocess.TimeoutExpired as left:  # something that it has started still has the pipe
            return str(left.stdout)[-_LAST_WORDS_CHARS:]

    def _execute_child(self, args: list[str], *more: Any) -> None:
        """What `Popen` calls to have the program started."""
        if not _can_fork() or _read_by_python(self._environment) != _read_by_python(_ENVIRONMENT):
            super()._execute_child(args, *more)
            return
        _, _, _, kept, cwd, env, _, _, _, *pipes = more[:15]
        theirs = zip((pipes[0], pipes[3], pipes[5]), (0, 1, 2), strict=True)  # the two ends of each stream in turn
        streams = [standard if fd == -1 else fd for fd, standard in theirs]
        module = args.index("-m") + 1
        order = {"module": args[module], "argv": args[module + 1 :], "cwd": str(cwd or Path.cwd()), "env": env}
        order |= {"fds": [0, 1, 2, *kept], "leads": self._leads}
        answers, answer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with answers:
            with answer:
                fds = [*streams, *kept, answer.fileno()]
                socket.send_fds(_forker(), [json.dumps(order).encode()], fds)
            pid = answers.recv(64)
        self._close_pipe_fds(*pipes)
        if not pid:
            raise OSError("the process that forks is gone")
        self.pid = int(pid)
        self._child_created = True


class Evald(Forked):
    """`Popen([sys.executable, "-m", "daemon", *arguments], …)` by a fork."""

    def __init__(self, *arguments: str, **options: Any) -> None:
        super().__init__([sys.executable, "-m", "daemon", *arguments], **options)


class Held(Forked):
    """The same, of one that rehearses on the home EVALD_HOME: it is at every job until that one is let go."""

    def __init__(self, *arguments: str, env: Mapping[str, str], **options: Any) -> None:
        command = [sys.executable, "-m", _HELD, *arguments]
        until = str(_released(Path(env["EVALD_HOME"])))
        super().__init__(command, env={**env, "HELD_REHEARSALS": until}, cwd=Path(__file__).parent, **options)


def newly_failed() -> str | None:
    """What to say of a daemon or server of this test process that has ended with an error since anybody asked for its
    exit code; None where there is none. Whoever waits for what it was to do need not wait any longer."""
    for process in list(_LONG_LIVED):
        if process.returncode is None and (process.poll() or 0) > 0:
            return f"{process.args} has ended with exit code {process.returncode}:\n{process.last_words()}"
    return None


def told_by_the_living() -> str:
    """The last words of the daemons and servers of this test process that are at work, as far as they lie in a file."""
    living = [process for process in list(_LONG_LIVED) if process.poll() is None and process._log is not None]
    return "".join(f"\n{process.args} says:\n{process.last_words()}" for process in living)


def let_go(home: Path, names: Iterable[str]) -> None:
    """Whoever is held on `home` comes to the end of these jobs now, or at once when it begins them."""
    _released(home).mkdir(exist_ok=True)
    for name in names:
        (_released(home) / name).touch()


def _released(home: Path) -> Path:
    """The folder of files called as jobs that have been let go, beside the home."""
    return home.with_name(f"{home.name}.let-go")


def evald(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return carried_out([sys.executable, "-m", "daemon", *arguments], env=env, timeout_s=300)


def carried_out(args: list[str], *, env: Mapping[str, str], timeout_s: float) -> subprocess.CompletedProcess[str]:
    """Run `python -m …` to its end: any module that is found beside this one, too."""
    with Forked(args, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            process.kill()
    return subprocess.CompletedProcess(args, process.returncode, out, err)


def fork_judges() -> None:
    """From now on this process's judges and builders are forked, those that use no GPU."""
    forking = types.SimpleNamespace(**{**vars(subprocess), "Popen": _judge_or_other})
    supervise.subprocess = forking


def _judge_or_other(program: list[str], **options: Any) -> subprocess.Popen[Any]:
    is_judge = _JUDGING in program and not options["env"]["CUDA_VISIBLE_DEVICES"]
    return (Forked if is_judge else subprocess.Popen)(program, **options)


def _read_by_python(environment: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name.startswith(_READ_BY_PYTHON)}


class _Forker:
    """The channel to the process that forks for this one; None until it is needed."""

    channel: socket.socket | None = None
    lock = threading.Lock()


def _forker() -> socket.socket:
    with _Forker.lock:
        if _Forker.channel is None:
            _Forker.channel = _started_forker()
        return _Forker.channel


def _started_forker() -> socket.socket:
    """It ends when this process does. What it forks are children of the thread that starts it, and those that ask for
    it die with that thread: so this one never ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST_ORDER)
    begun = threading.Event()

    def parent() -> None:
        command = [sys.executable, __file__, str(theirs.fileno())]
        process = subprocess.Popen(
            command, pass_fds=(theirs.fileno(),), cwd=Path(__file__).parents[1], env=_ENVIRONMENT
        )
        begun.set()
        process.wait()

    threading.Thread(target=parent, daemon=True, name="parent of what is forked").start()
    begun.wait()
    theirs.close()
    return ours


# -- the process that forks -----------------------------------------------------------------------------------------


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Fork for every order. Returns the order in a fork that has become what was ordered, None when all is over."""
    while True:
        word, fds, _, _ = socket.recv_fds(channel, _LARGEST_ORDER, _MOST_FDS)
        if not word:
            return None
        order: dict[str, Any] = json.loads(word)
        if order["module"] not in ("daemon", _HELD) or _may_judge(order):
            _import(JUDGING_MODULES)
        assert len([*Path("/proc/self/task").iterdir()]) == 1, "of several threads one may hold a lock"
        pid = _fork_sibling()
        if pid == 0:
            channel.close()
            os.close(fds.pop())
            _become(order, fds)
            return _with_a_forker(order) if _may_judge(order) else order
        os.write(fds[-1], str(pid).encode())
        for fd in fds:
            os.close(fd)


def _may_judge(order: Mapping[str, Any]) -> bool:
    is_daemon = order["module"] == "daemon" and order["argv"][:1] in (["run"], ["sweep"], ["serve"], ["eval"])
    return is_daemon and order["env"].get("EVALD_ENGINE") != "rehearsal"


def _with_a_forker(order: dict[str, Any]) -> dict[str, Any] | None:
    """What becomes a daemon gets a child that forks for it; here, or in such a fork, the order to carry out."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LARGEST_ORDER)
    if os.fork() == 0:
        ours.close()
        os.setsid()  # a signal to the daemon's group is not for it
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(nothing, fd)
        os.close(nothing)
        return serve(theirs)
    theirs.close()
    _Forker.channel = ours
    fork_judges()
    return order


def _fork_sibling() -> int:
    """`os.fork`, but the child's parent is this process's parent. The thread's id is where glibc has its own note of
    it, as glibc's fork has it."""
    noted_at = ctypes.c_void_p()
    libc, python = ctypes.PyDLL(None), ctypes.pythonapi
    libc.prctl(_PR_GET_TID_ADDRESS, ctypes.byref(noted_at), 0, 0, 0)
    flags = ctypes.c_ulong(_CLONE_PARENT | _CHILD_SETTID | _CHILD_CLEARTID | signal.SIGCHLD)
    python.PyOS_BeforeFork()
    pid: int = libc.syscall(_SYS_CLONE[platform.machine()], flags, None, None, noted_at, noted_at)
    if pid == 0:
        python.PyOS_AfterFork_Child()
    else:
        python.PyOS_AfterFork_Parent()
    return pid


def _can_fork() -> bool:
    address = ctypes.c_void_p()
    asked = ctypes.CDLL(None).prctl(_PR_GET_TID_ADDRESS, ctypes.byref(address), 0, 0, 0)
    return asked == 0 and platform.machine() in _SYS_CLONE


def _become(order: dict[str, Any], fds: list[int]) -> None:
    above = max(order["fds"]) + 1
    for target, fd in [(target, _moved(fd, above)) for target, fd in zip(order["fds"], fds, strict=True)]:
        os.dup2(fd, target)
        os.close(fd)
    if order["leads"]:
        os.setsid()
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


def _moved(fd: int, above: int) -> int:
    """Out of the way of those that have their numbers already."""
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, above)
    os.close(fd)
    return moved


def _stream(fd: int, errors: str, **buffering: bool) -> io.TextIOWrapper:
    return io.TextIOWrapper(open(fd, "wb", closefd=False), errors=errors, **buffering)


def _import(modules: tuple[str, ...]) -> None:
    if all(module in sys.modules for module in modules):
        return
    gc.disable()
    with mock.patch.dict(os.environ, _WHILE_IMPORTING):
        for module in modules:
            importlib.import_module(module)
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    _import(MODULES)
    if (carried_out := serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        runpy.run_module(carried_out["module"], run_name="__main__", alter_sys=True)
