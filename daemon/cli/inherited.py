"""What the process that starts a command may have left it that evald cannot work with."""

from __future__ import annotations

import io
import os
import signal
import sys
from contextlib import suppress


def settle() -> None:
    """Have streams, signals and scheduling as a shell gives them. Whatever we start has them as well."""
    _open_streams()
    _wait_for_readers()
    _hear_signals()
    _leave_real_time()


def _open_streams() -> None:
    """A stream that came closed is read and written by nobody, and no file of ours may get its number. What the others
    cannot say they write as an escape."""
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
    """A pipe or terminal that we share with an event loop (node's, an ssh's) does not block: what its reader was too
    slow for would be lost, and the command fail."""
    for number in (0, 1, 2):
        with suppress(OSError):
            if not os.get_blocking(number):
                os.set_blocking(number, True)


def _hear_signals() -> None:
    """Where SIGCHLD is ignored nobody learns how a process has ended; one that is blocked could end neither us nor what
    a kernel starts. Other ignored signals stay so: nohup means it."""
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        with suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _leave_real_time() -> None:
    """A kernel in real time (chrt -f) would let nothing else of the host run, and some cgroups take no such process."""
    if os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK in (os.SCHED_FIFO, os.SCHED_RR):
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
