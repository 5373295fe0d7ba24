"""The process that cells are forked from: torch and Triton imported once, nothing of a bundle ever in it.

Theory of operation: importing torch takes seconds and is the same for every cell, so it is done once, behind the walls
of bubblewrap. For each cell this process forks: the child gets namespaces and mounts of its own and forks again, so
that the grandchild is pid 1 of the cell's namespace (`_Init`). That one tells the judge that it is there, is put into
its cgroup, gives up every privilege, forks the cell itself, and from then on only waits: when the cell has ended it
says how, and ends, and the kernel kills whatever the cell left running. The cell puts up its other walls (`confine`),
becomes single-use, and serves the judge like any program.

It must stay what a fork can copy: one thread, no GPU. Both are looked at before every fork, and a zygote that is not
clean refuses and ends: cells are then forked from a fresh one.
"""

from __future__ import annotations

import gc
import importlib
import os
import pkgutil
import random
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from daemon.executor import backends
from daemon.executor.inside import cell, stage, under_tool
from daemon.executor.shared import protocol

_FDS = ("channel", "stdout", "stderr", "status", "report")  # the last one for a cell below a tool


def main(argv: list[str]) -> int:
    """`argv`: the descriptor of the judge's channel."""
    channel_fd = int(argv[0])
    stage.close_all_but((0, 1, 2, channel_fd))
    channel = socket.socket(fileno=channel_fd)
    os.set_inheritable(channel_fd, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's to handle
    gc.disable()  # importing makes hardly any garbage, and collecting takes a quarter of the time
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # numpy starts no threads then: with threads nothing could be forked
    from daemon.executor.inside.workload import Workload  # what every cell needs, imported once

    Workload.versions()
    _import_backends()
    _import_the_late()
    _start_triton(os.environ.get("TORCH_CUDA_ARCH_LIST"))
    del os.environ["OPENBLAS_NUM_THREADS"]
    gc.freeze()  # what was imported is not looked through, here or in a cell: it would be copied page by page
    gc.enable()
    protocol.send(channel, {"type": "ready"})
    reader = protocol.Reader(protocol.MAX_TO_CELL)
    while True:
        try:
            order, fds = protocol.receive_with_fds(channel, reader)
        except protocol.ClosedError:
            return 0
        _fork_cell(order, dict(zip(_FDS, fds, strict=False)))
        for fd in fds:
            os.close(fd)


def _import_backends() -> None:
    """What evald's kernel types need: some 10 ms for every cell that would import it itself."""
    for module in pkgutil.iter_modules(backends.__path__):
        if not module.name.startswith("_"):
            with suppress(ImportError):  # Triton is not on every platform: a kernel that needs it will report that
                importlib.import_module(f"{backends.__name__}.{module.name}")


def _import_the_late() -> None:
    """What numpy and Triton import only when it is first asked for. Every cell seeds numpy, and every one that launches
    a Triton kernel has its arguments compared with Gluon's (25 ms and 130 ms of a processor)."""
    for name in ("numpy.random", "triton.experimental.gluon.nvidia.hopper"):
        with suppress(Exception):  # whoever needs it will hear of it
            importlib.import_module(name)


def _start_triton(architecture: str | None) -> None:
    """Import Triton, if it is there; for a GPU also have it load its compiler and its helper, which takes a second. If
    anything goes wrong, the kernel that needs it will report it."""
    with suppress(ImportError):  # not on every platform, and only some kernels need it
        import triton  # noqa: F401

        if architecture is not None:
            from daemon.executor.inside.triton_warmup import compile_launchers_quickly, compile_once, load_helper

            for step in (partial(compile_once, architecture), load_helper, compile_launchers_quickly):
                with suppress(Exception):
                    step()
            gc.collect()  # what a compiler leaves may be more than memory


def _fork_cell(order: protocol.Message, fds: dict[str, int]) -> None:
    reason = _uncleanness()
    if reason is not None:
        os.write(fds["status"], f"failed the zygote {reason}".encode())
        sys.exit(1)
    between = os.fork()
    if between == 0:
        _never_return(fds["status"], lambda: _between(order, fds))
    os.waitpid(between, 0)


def _uncleanness() -> str | None:
    """Why a fork of this process would not be a fresh start; None when it would."""
    if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208
        return "has more than one thread"
    if any(os.readlink(f"/proc/self/fd/{fd}").startswith("/dev/nvidia") for fd in _open_fds()):  # noqa: PTH115
        return "has opened a GPU"
    return None


def _open_fds() -> list[str]:
    found = []
    for fd in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            os.stat(f"/proc/self/fd/{fd}")  # noqa: PTH116
        except OSError:
            continue
        found.append(fd)
    return found


def _never_return(status_fd: int, step: Callable[[], None]) -> None:
    """Run `step` in a fork; what fails there is told to the judge and ends the fork."""
    try:
        step()
    except BaseException as error:  # noqa: BLE001 - a process's main: nothing may run on as a copy of the zygote
        os.write(status_fd, f"failed {type(error).__name__}: {error}"[:2000].encode("utf-8", "replace"))
    finally:
        os._exit(1)


def _between(order: protocol.Message, fds: dict[str, int]) -> None:
    stage.leave_namespaces()
    if os.fork() == 0:
        _never_return(fds["status"], lambda: _Init(order, fds).run())
    os._exit(0)


class _Init:
    """Pid 1 of a cell."""

    def __init__(self, order: protocol.Message, fds: dict[str, int]) -> None:
        self._order = order
        self._fds = fds

    def run(self) -> None:
        status = socket.socket(fileno=self._fds["status"])
        view = self._order["view"]
        stage.build(stage.View(tuple(view["writable"]), view["size_bytes"], view["inodes"], tuple(view["visible"])))
        status.send(b"born")
        if status.recv(16) != b"go":  # the judge puts this process into its cgroup first
            return
        stage.leave_cgroup_namespace()
        # Where the cell has our uid (evald is not root), it must not reach what we tell the judge with.
        stage.be_inspectable(False)
        child = os.fork()
        if child == 0:
            _cell(self._order, self._fds)
        stage.close_all_but((status.fileno(),))
        stage.drop_privileges(None)
        code = _wait_for(child)
        status.send(f"ended {code}".encode())
        os._exit(0)


def _wait_for(child: int) -> int:
    """The child's exit code, negative for a signal. Other processes that were left to pid 1 are waited for on the
    way."""
    while True:
        pid, status = os.wait()
        if pid == child:
            return os.waitstatus_to_exitcode(status)


def _cell(order: protocol.Message, fds: dict[str, int]) -> None:
    """Become the cell: no privileges, its own session, its own streams, nothing else open. Does not return."""
    code = 1
    try:
        stage.drop_privileges(order["uid"])
        stage.be_inspectable(True)
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (fds["stdout"], 1), (fds["stderr"], 2)):
            os.dup2(source, target)
        stage.close_all_but((0, 1, 2, *(fds[name] for name in ("channel", "report") if name in fds)))
        _forget_the_zygote()
        if (plan := order["plan"]) is None:
            code = cell.run(fds["channel"], order["walls"])
        else:
            code = under_tool.run(plan, fds["channel"], fds["report"])
    except SystemExit as ending:
        code = ending.code if isinstance(ending.code, int) else 1
    except BaseException:  # noqa: BLE001 - the cell's main: as the interpreter would have said it
        sys.excepthook(*sys.exc_info())
    finally:
        cell.flush()
        os._exit(code)


def _forget_the_zygote() -> None:
    """No two cells draw the same numbers where nobody gave a seed."""
    import numpy as np

    random.seed()
    np.random.seed()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
