"""Ctrl-C for loops: noted, and obeyed at the next turn.

Python raises KeyboardInterrupt wherever it happens to be, and swallows it in an object's destructor. A loop that opens
and closes a database a few times a second would then run on.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def noted(*others: signal.Signals) -> Iterator[threading.Event]:
    """An event that Ctrl-C and `others` set. A second signal ends at once what does not look at the event."""
    asked = threading.Event()

    def note(number: int, _frame: FrameType | None) -> None:
        signal.signal(number, signal.default_int_handler)
        asked.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, *others)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
