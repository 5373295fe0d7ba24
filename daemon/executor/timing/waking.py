"""Does waking a cell up take longer than the calls that do it? Pure arithmetic.

Theory of operation: a call may need something that does not come from its inputs, a cleared workspace say, and a kernel
can make that for all calls of a round while its cell is woken up, before the clock runs. So what that takes beyond its
calls counts as theirs if it is much: more than half of the round (on a CPU a quarter), and more than on the other side
by more than chance. What chance may do is taken from the other side: this one could do much in a few rounds and nothing
in the others.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from daemon.executor.timing.series import FEWEST_ROUNDS

# Of what the calls of a round take, that may go by in waking up for it; rounds are longer on a CPU.
_AHEAD, _AHEAD_ON_A_CPU = 0.5, 0.25
# A cell that slept finds neither code nor data in the caches, and a busy CPU wakes it up late.
_AHEAD_S, _AHEAD_ON_A_CPU_S = 3e-3, 1e-2
_AHEAD_ALONE_S = 1e-2  # later still, for all that can be seen where there is no other side
_AHEAD_SIGMAS = 2.0


@dataclass(frozen=True)
class Waking:
    """One side's, in seconds.

    - `spent_s`: what it took beyond the calls that do it, in each round, the least first
    - `calls_s`: what the calls of a round take
    - `other`: the other side's
    - `in_pairs`: on a GPU
    """

    spent_s: Sequence[float]
    calls_s: float
    other: Waking | None
    in_pairs: bool

    @property
    def ahead_s(self) -> float:
        """What it takes more than the other side's, for one round; 0 unless that is much."""
        return 0.0 if self._usual is None else self._beyond(self._usual[0])

    @property
    def may_be_ahead(self) -> bool:
        """Worth more rounds: of few, the one before which least went by tells, and all of them together would say
        otherwise."""
        return 0 < len(self.spent_s) < FEWEST_ROUNDS and self._beyond(statistics.fmean(self.spent_s)) > 0

    def _beyond(self, spent_s: float) -> float:
        theirs = self.other._usual if self.other else None
        theirs_s = max(theirs[0], 0.0) if theirs else _AHEAD_ALONE_S
        error_s = _AHEAD_SIGMAS * math.sqrt(2) * theirs[1] if theirs else 0.0
        share, least_s = (_AHEAD, _AHEAD_S) if self.in_pairs else (_AHEAD_ON_A_CPU, _AHEAD_ON_A_CPU_S)
        is_more = spent_s - theirs_s - error_s > max(share * self.calls_s, least_s)
        return spent_s - theirs_s if is_more else 0.0

    @cached_property
    def _usual(self) -> tuple[float, float] | None:
        """What it takes, and the standard error of that. The mean over the rounds without the longest, which something
        else may have held up; of few rounds, the least."""
        if len(spent_s := self.spent_s) < FEWEST_ROUNDS:
            return (spent_s[0], 0.0) if spent_s else None
        return statistics.fmean(spent_s[:-1]), statistics.stdev(spent_s[:-1]) / math.sqrt(len(spent_s) - 1)
