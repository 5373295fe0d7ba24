"""How a daemon is told to stop: by signals or by another thread, before or after there is something to stop."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from daemon import log


class Stop:
    """Ends what was added to it, and what is added later. May be called from any thread."""

    def __init__(self) -> None:
        self.asked = False
        self._parts: list[Callable[[], None]] = []

    def __call__(self) -> None:
        self.asked = True
        for part in self._parts:
            part()

    def add(self, part: Callable[[], None]) -> None:
        self._parts.append(part)
        if self.asked:
            part()


@contextmanager
def stopping_on_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Signals that ask to end call `stop` once, in a thread of its own. A second one ends the process at once, and the
    next start repairs. They are SIGINT, SIGTERM, and SIGHUP (the terminal is gone) unless it is ignored, as under
    nohup.

    A handler may interrupt its own thread anywhere: in the middle of a log line, so that it could not log, or with a
    lock in its hand. So it does next to nothing. A thread that listens at the other end of the wakeup descriptor does
    the rest.
    """
    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    told, tell = socket.socketpair()
    tell.setblocking(False)

    def first(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)

    def listen() -> None:
        while number := told.recv(1):
            if number[0] in numbers:
                name = signal.Signals(number[0]).name
                log.story("stopping: giving unfinished bundles back (again to end at once)", signal=name)
                stop()
                return

    listener = threading.Thread(target=listen, name="signals", daemon=True)
    listener.start()
    wakeup_before = signal.set_wakeup_fd(tell.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, first) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup_before)
        tell.close()
        listener.join()
        told.close()
