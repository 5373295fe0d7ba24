"""Does a call do the work of others? What rounds of one call say about that, compared with the other side's. Pure
arithmetic.

Theory of operation: a kernel that serves a whole round in one of its calls is found by rounds that have one call only,
because that call has to do its work then. What it costs beyond its share of a long round is compared with the same cost
of the other side, whose rounds of one call ran on the same content a moment before or after. Three things can show it:

- two calls' worth and more, far beyond what a call alone costs for honest reasons (`_rough_exceeds`): on a CPU, and
  where there is no other side to compare with;
- on a GPU, pairs of rounds (`_pairs`). Each round scatters by 40 us on an H100, but enough pairs tell differences of 10
  us. A call that is launched while the one before still runs may cost half of what it does alone, and no less. Calls
  that are launched one by one take what Python takes, and between long rounds and those of one call a processor's clock
  may go up by a quarter. So the other side's calls are taken to have cost no more among many than they do alone;
- the cells' own clocks (`_admits_it`), to some microseconds. They are no proof of honesty, because a cell says what it
  likes, but nobody can complain of being taken at his word.

A busy CPU may hide anything of this. A kernel that would gain much by it there has to be seen to be faster alone as
well (`is_open`).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from daemon.executor.timing.stats import error_of_median, median_error, robust_deviation

_BATCHED = 2.0
_SUSPICIOUS = 0.5
_CHANCE_SIGMAS = 3.0
_PAIRS_SIGMAS, _OPEN_SIGMAS = 2.5, 3.0
_CALL_NOISE_S = 2e-4  # a call alone is slower than one of many for honest reasons: caches, clocks
_BEYOND_HONEST = 1.75
_SCATTERS_MORE = 2.0  # than the other side: what may be honest
_OTHERS_SHARE = 0.1  # of the other side's call, that its rounds of one call may be off by
_CLOCKS_NOISE_S = 8e-6
_ENOUGH = 20  # rounds of one call, for a word to count


@dataclass(frozen=True)
class CallTimes:
    """One side's calls, in seconds.

    - `usual_s`: of one in a long round
    - `alone_s`: the walls of rounds of one call
    - `nulls_s`: of rounds of none, beside them
    - `inside_s`: what the cell says of a call in a long round; None where it says nothing
    - `alone_inside_s`: what the cell says of each call alone
    """

    usual_s: float
    alone_s: Sequence[float]
    nulls_s: Sequence[float]
    inside_s: float | None = None
    alone_inside_s: Sequence[float] = ()

    @property
    def isolated_s(self) -> float | None:
        """What a call alone costs; None where that was not measured."""
        if not self.alone_s or not self.nulls_s:
            return None
        return max(statistics.median(self.alone_s) - statistics.median(self.nulls_s), 0.0)

    @property
    def error_s(self) -> float:
        """How far off that may be by chance."""
        return self.error_within(math.inf)

    def error_within(self, most_s: float) -> float:
        """The same if single calls scatter by no more than `most_s`, whatever these did."""
        if not self.alone_s or not self.nulls_s:
            return 0.0
        null_s = robust_deviation(self.nulls_s)
        alone_s = min(max(robust_deviation(self.alone_s), null_s), most_s)
        errors = error_of_median(alone_s, len(self.alone_s)), null_s / math.sqrt(len(self.nulls_s))
        return _CHANCE_SIGMAS * math.hypot(*errors)

    @property
    def excess_s(self) -> float | None:
        """What a call alone costs beyond one of many."""
        return None if self.isolated_s is None else self.isolated_s - self.usual_s

    @property
    def inside_excess_s(self) -> tuple[float, float] | None:
        """The same by the cell's own clock, and how far off that may be by chance."""
        if self.inside_s is None or not self.alone_inside_s:
            return None
        error_s = median_error(self.alone_inside_s, 0.0)
        return statistics.median(self.alone_inside_s) - self.inside_s, _PAIRS_SIGMAS * error_s


@dataclass(frozen=True)
class Suspicion:
    """Of `mine`, compared with `other`.

    - `noise_s`: what a call alone may cost beyond one of many for no reason of its own.
    - `in_pairs`: tell by pairs of rounds.
    - `is_cold`: calls are launched one by one, and one alone finds its code, and Python's, out of the caches. As much
      as that costs the other side, it may cost this one again, and overlap besides.
    """

    mine: CallTimes
    other: CallTimes | None
    noise_s: float
    in_pairs: bool
    is_cold: bool = False

    @property
    def is_proved(self) -> bool:
        """A call does the work of others."""
        if self._pairs is None:
            return self._rough_exceeds(1.0)
        hidden_s, error_s = self._pairs
        excusable_s = _PAIRS_SIGMAS * error_of_median(self._excusable_s, len(self.mine.alone_s))
        if hidden_s - min(error_s, excusable_s) > self._limit_beyond(self.noise_s):
            return True
        return self._admits_it and len(self.mine.alone_inside_s) >= _ENOUGH

    @property
    def is_cleared(self) -> bool:
        """Pairs of rounds, and its own clock, say that no call does so, as surely as they would say that one does: more
        pairs would tell nothing else. On a CPU: a call alone costs little more than one of many."""
        if self._pairs is None:
            excess_s = None if self.in_pairs else self.mine.excess_s
            return excess_s is not None and excess_s + self.mine.error_s < _SUSPICIOUS * self.mine.usual_s
        if self._admits_it:
            return False
        hidden_s, error_s = self._pairs
        return hidden_s + error_s < self._limit_beyond(self.noise_s)

    @property
    def bound_s(self) -> float:
        """What a call of `mine` costs at most when it has no others to share with, because chance may have made it look
        cheaper. Never less than one of many."""
        found = [self.mine.usual_s]
        if self.mine.isolated_s is not None:
            found.append(self.mine.isolated_s + self.mine.error_s)
        if self._pairs is not None:
            found.append(self.mine.usual_s + sum(self._pairs))
        if self._admits_it:
            found.append(statistics.median(self.mine.alone_inside_s))
        return max(found)

    @property
    def is_there(self) -> bool:
        """It may: more rounds of one call would tell."""
        if self._pairs is None:
            return self._rough_exceeds(_SUSPICIOUS)
        return self._pairs[0] > self._limit_beyond(self.noise_s) or self._admits_it

    @property
    def is_open(self) -> bool:
        """Where pairs do not tell: twice as fast as the other side among many, and, for all that can be seen, no faster
        alone, where it costs two calls' worth and more."""
        excess_s = self.mine.excess_s
        if self.in_pairs or self.other is None or excess_s is None or not self.other.alone_s:
            return False
        if _BATCHED * self.mine.usual_s > self.other.usual_s or excess_s <= (_BATCHED - 1) * self.mine.usual_s:
            return False
        apart_s, error_s = self._apart_alone
        return apart_s + _OPEN_SIGMAS * error_s >= 0

    def _rough_exceeds(self, share: float) -> bool:
        if self.other is not None and self.mine.usual_s >= self.other.usual_s:
            return False  # whatever it does, it does not look better than the other side
        excess_s = self.mine.excess_s
        honest_s = self.other.excess_s if self.other else _CALL_NOISE_S
        if excess_s is None or honest_s is None:
            return False
        mine_s = self.mine.error_within(self._excusable_s)
        scatter_s = math.hypot(mine_s, self.other.error_s if self.other else 0.0)
        noise_s = self.noise_s
        if self.other is not None and _BATCHED * self.mine.usual_s > self.other.usual_s:
            noise_s += _CALL_NOISE_S  # it gains little, if anything; and threads of parallel loops have to be woken
        by_chance_s = _BEYOND_HONEST * max(honest_s, 0.0) + noise_s + scatter_s
        return excess_s > share * max((_BATCHED - 1) * self.mine.usual_s, by_chance_s)

    @property
    def _pairs(self) -> tuple[float, float] | None:
        """By how much more than the other side's a call alone exceeds one of many, and how far off that may be."""
        if self.other is None or not self.in_pairs or not self.mine.alone_s:
            return None
        apart_s, error_s = self._apart_alone
        theirs_s = self.other.usual_s
        if self.is_cold and self.other.isolated_s is not None:
            theirs_s = min(theirs_s, self.other.isolated_s + self.other.error_s)
        return apart_s + theirs_s - self.mine.usual_s, _PAIRS_SIGMAS * error_s

    @property
    def _apart_alone(self) -> tuple[float, float]:
        """By how much more than the other side's a call costs alone, and the standard error of that. From pairs of
        rounds that were taken a moment apart."""
        assert self.other is not None
        apart_s = [mine - other for mine, other in zip(self.mine.alone_s, self.other.alone_s, strict=True)]
        least_s = math.hypot(*(robust_deviation(side.nulls_s) for side in (self.mine, self.other)))
        return statistics.median(apart_s), median_error(apart_s, least_s)

    @property
    def _excusable_s(self) -> float:
        """What calls of `mine` alone may scatter by: twice what those of the other side, null rounds and what it takes
        itself come to. What it adds to that, by being late now and then, is no excuse: few rounds of one call fit into
        the time then, and tell nothing."""
        scattered = [self.mine.nulls_s, *((self.other.alone_s, self.other.nulls_s) if self.other else ())]
        return _SCATTERS_MORE * math.hypot(self.mine.usual_s, *map(robust_deviation, scattered))

    def _limit_beyond(self, noise_s: float) -> float:
        assert self.other is not None
        reasons = ((_BATCHED - 1) * self.mine.usual_s, _OTHERS_SHARE * self.other.usual_s, noise_s)
        if self.is_cold:
            return sum(reasons) + max(self.other.excess_s or 0.0, 0.0)
        return max(reasons)

    @property
    def _admits_it(self) -> bool:
        if self.other is None or (mine := self.mine.inside_excess_s) is None:
            return False
        other_s, other_error_s = self.other.inside_excess_s or (0.0, 0.0)
        hidden_s = mine[0] - max(other_s, 0.0)
        return hidden_s - math.hypot(mine[1], other_error_s) > self._limit_beyond(_CLOCKS_NOISE_S)
