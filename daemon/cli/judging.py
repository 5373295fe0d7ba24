"""What `run`, `sweep`, `serve` and `eval` have in common: ending cleanly, and the warning about a missing sandbox."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from daemon.cli import screen

if TYPE_CHECKING:
    from daemon.config import Settings


@contextmanager
def interrupted_by_any_end() -> Iterator[None]:
    """SIGTERM, and SIGHUP unless it is ignored (nohup), end the block as Ctrl-C does: nothing is left behind."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    ours = [number for number, handler in before.items() if handler == signal.SIG_DFL]
    for number in ours:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def warn_of_weakness(settings: Settings) -> None:
    """Say on every start that nothing holds the bundles, or that nothing is judged at all."""
    if settings.engine == "rehearsal":
        screen.warn("engine is rehearsal: nothing is judged, every result is made up")
    if settings.isolation == "none":
        screen.warn("isolation is none: bundles run as you, with everything you may do; every result says so")
