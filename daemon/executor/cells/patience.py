"""How long calls are waited for: a multiple of what calls like them took, and never beyond the contract's timeout.

Theory of operation: the first call of a kernel may compile, load and tune, and nothing is known of it: it has the
contract's timeout. On a GPU the cell says when all of it has been launched. From then on there is only the kernel
itself to wait for, and the reference's time says how long that may take. Later calls are compared with the fastest so
far. The multiples are far beyond what an honest kernel varies by, so that only what hangs meets them. A reference has
more time: what a candidate leaves behind may hold it up, and must not look like its fault.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from daemon.config import Deadlines
from daemon.executor.cells.endings import TooSlow
from daemon.verdict import Side

_FACTOR = 100.0
_FOR_REFERENCES = 10.0
_OWN_S = 15.0
_OWN_CALLS = 20
_OWN_AT_MOST_S = 600.0  # a judge that says nothing for longer than that is given up soon
_TIME_LEFT_S = 1.0  # of a deadline, for what comes after the last round


def is_time_for(longest_s: float, deadline: float) -> bool:
    """Whether one more round fits in before `deadline` (monotonic), even if it takes twice as long as the longest so
    far."""
    return time.monotonic() + 2 * longest_s + _TIME_LEFT_S <= deadline


def own_deadline(deadline: float, slowest_s: float) -> float:
    """Until when (monotonic) to wait in steps from which labels come, if a step takes `slowest_s`. This is time of
    evald's own: otherwise a kernel could use up its contract's time, where no clock looks, to get around the labels. If
    a step has not ended by then, that is a timeout."""
    return max(deadline, time.monotonic() + min(_OWN_S + _OWN_CALLS * slowest_s, _OWN_AT_MOST_S))


class Patience:
    """What the calls of one kernel take, and how long more of them are worth waiting for: `floor_s` at least, once
    one is known."""

    def __init__(self, floor_s: float, setting: str = "deadlines.call_s") -> None:
        """`setting`: what sets the floor."""
        self._floor_s = floor_s
        self._setting = setting
        self.usual_s: float | None = None  # of the fastest call so far
        self.spent_s = 0.0  # in all calls so far

    @classmethod
    def of(cls, deadlines: Deadlines, device: str, side: Side) -> Patience:
        """With the floor that `deadlines` set for calls on `device`."""
        floor_s, name = (deadlines.call_s, "call_s") if device == "cpu" else (deadlines.gpu_call_s, "gpu_call_s")
        return cls(_FOR_REFERENCES * floor_s if side is Side.REFERENCE else floor_s, f"deadlines.{name}")

    def saw(self, calls: int, wall_s: float) -> None:
        """`calls` calls took `wall_s` seconds."""
        self.spent_s += wall_s
        if calls:
            self.usual_s = min(self.usual_s or wall_s, wall_s / calls)

    def limit_s(self, calls: int) -> float | None:
        """Seconds that `calls` calls may take; None while nothing is known."""
        return None if self.usual_s is None else self._floor_s + _FACTOR * calls * self.usual_s

    def launched_s(self, peer: Patience) -> float | None:
        """Seconds that a device may work on a call that is worth as much as those of `peer`; None while nothing is
        known of them."""
        return None if peer.usual_s is None else self.worth_s(peer.usual_s)

    def worth_s(self, work_s: float) -> float:
        """Seconds that a device may work on a call that does what another one needs `work_s` for."""
        return self._floor_s + _FACTOR * work_s

    @contextmanager
    def waiting(self, calls: int, deadline: float) -> Iterator[float]:
        """Until when to wait for `calls` calls. If that passes before `deadline`, the `CellFailed` names this limit
        instead."""
        limit_s = self.limit_s(calls)
        limit = deadline if limit_s is None else min(deadline, time.monotonic() + limit_s)
        try:
            yield limit
        except TooSlow as slow:
            if limit == deadline:
                raise
            raise slow.because(self._exceeded(calls)) from slow

    def _exceeded(self, calls: int) -> str:
        many = "1 call" if calls == 1 else f"{calls} calls"
        limit = f"{self.limit_s(calls):.1f} s (a hundred times what calls took before, and {self._setting})"
        return f"{many} did not end within {limit}, where one had taken {self.usual_s:.2g} s"
