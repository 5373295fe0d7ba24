"""What the process that starts a command may have left it, and evald cannot work with."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress


def settle() -> None:
    """Make streams, signals and scheduling as a shell gives them. What we start inherits them."""
    _open_streams()
    _wait_for_readers()
    _hear_signals()
    _leave_real_time()


def _open_streams() -> None:
    """Open those of the three streams that came closed, so that no file of ours gets their number. Characters that a
    stream cannot write are written as escapes."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = getattr(sys, name)
        if stream is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != number:
                os.dup2(nowhere, number)
                os.close(nowhere)
            os.set_inheritable(number, True)  # a child that inherits it would find it closed again
            setattr(sys, name, open(number, "w" if number else "r", closefd=False, encoding="utf-8"))  # noqa: SIM115
        elif number and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _wait_for_readers() -> None:
    """Make writes to stdout and stderr wait. A pipe or terminal that we share with an event loop (node's, an ssh's)
    does not block: if its reader were too slow, text would be lost and the command would fail."""
    for number in (0, 1, 2):
        with suppress(OSError):
            if not os.get_blocking(number):
                os.set_blocking(number, True)


def _hear_signals() -> None:
    """Undo what hides signals from us. Where SIGCHLD is ignored, nobody learns how a process has ended; a blocked
    signal could end neither us nor what a kernel starts. Other ignored signals stay ignored: nohup means it."""
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _leave_real_time() -> None:
    """A kernel in real time (chrt -f) would keep the rest of the host from running, and some cgroups take no such
    process."""
    if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK in (os.SCHED_FIFO, os.SCHED_RR):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
