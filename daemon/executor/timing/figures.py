"""From wall clocks of rounds to the figures of a result. No clock and no cell here: only arithmetic.

The figure of a round is (T(n) - c0(n)) / n, where c0 is what the same round costs with no kernel in it. A returned
answer is copied into its slot in the cell. The kernel could do without that (write into the slot, and return it), and
would still have the copy subtracted. So the copy is not subtracted: it stays in the figure, and `copy_ms` says what it
costs. One exception: a reference returns, and the candidate writes its outputs itself. Then the reference's copy is
subtracted, which can only hurt the candidate.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from daemon.evaluation import Timing
from daemon.executor.timing import stats
from daemon.executor.timing.batching import CallTimes, Suspicion
from daemon.executor.timing.comparison import APART
from daemon.executor.timing.conditions import Reading
from daemon.executor.timing.series import CLOCK_TICK_S, FEWEST_ROUNDS, NullCost, Round, Series
from daemon.executor.timing.waking import Waking

_BELOW_A_LAUNCH = 0.6
_CACHED = 0.7
_FORESEEN = 1 / 3  # of a call's time is left where a processor foresees all it decides
_LAUNCH_BOUND = 1.5
_OFF_THE_LINE = 0.1
_BY_CHANCE = 1e-4
_COPIES_VARY = 2.0  # what is copied may lie in a cache, as the null candidate's zeros do, or not


@dataclass(frozen=True)
class Account:
    """The figures of one side as they are now: make a new one when rounds have been added.

    - `rounds`: numbers of the rounds that count.
    - `returns`: its answers are copied into the slots. `subtracts_copy`: and the copy does not count.
    - `noise_s`: what a call alone may cost beyond one of many for no reason of its own.
    - `in_pairs`, `is_cold`: as `batching.Suspicion` has them.
    - `is_suspect`: its kernel may be out to deceive. A reference is not, and must not look as if it were because of
      what the other one does.
    - `is_outlasted`: what it holds of memory cannot be what its calls need, made ahead for all of them.
    - `stopping_s`: what it takes to stop a cell that does nothing, in all of a round.
    - `peer`: the other side's.
    """

    series: Series
    rounds: Sequence[int]
    returns: bool
    subtracts_copy: bool
    noise_s: float
    in_pairs: bool = False
    is_cold: bool = False
    is_suspect: bool = True
    is_outlasted: bool = True
    stopping_s: float = 0.0
    peer: Account | None = None

    @cached_property
    def null(self) -> NullCost:
        return NullCost.through(self.series.null)

    @cached_property
    def counted(self) -> list[Round]:
        return [self.series.rounds[number] for number in self.rounds]

    @cached_property
    def copy_s(self) -> float | None:
        """What copying a returned answer adds to a call; None for a side that returns nothing."""
        copied_s = [copying_s / calls for calls, copying_s in self.series.copying]
        return max(statistics.median(copied_s), 0.0) if copied_s else None

    def per_call_s(self, rounds: Sequence[Round], null: NullCost | None = None) -> list[float]:
        """Seconds per call of each of `rounds`."""
        cost = null or self.null
        copy_s = (self.copy_s or 0.0) if self.subtracts_copy else 0.0
        return [(one.wall_s - cost.of(one.calls)) / one.calls - copy_s for one in rounds]

    @cached_property
    def samples_s(self) -> list[float]:
        return self.per_call_s(self.counted)

    @cached_property
    def usual_s(self) -> float:
        """What a call of a long round takes: the median, which single rounds do not move; the mean where that is less,
        for kernels are ranked by it, and one may be as it should be in every second round and not in the others."""
        return min(statistics.median(self.samples_s), statistics.fmean(self.samples_s))

    @property
    def taken_s(self) -> float:
        """What all calls took together."""
        pairs = zip(self.counted, self.samples_s, strict=True)
        return sum(one.calls * max(value, self.resolution_s) for one, value in pairs)

    @cached_property
    def resolution_s(self) -> float:
        """The shortest call that can be told from none: the null rounds' scatter over the calls of a round."""
        return max(self.null.scatter_s / max(one.calls for one in self.series.rounds), CLOCK_TICK_S)

    @property
    def rse(self) -> float | None:
        return stats.relative_standard_error(self.samples_s)

    def timing(self, *, mode: str, stop: str, target_rse: float, footprint_bytes: int) -> Timing:
        """Everything that the result says.

        A figure below the resolution is reported as the resolution: an upper bound, never a zero to rank first with. If
        calls of a kernel do the work of others, or may for all that can be seen, the figure is that of single calls
        plus what they scatter by: an upper bound too, so that the kernel gains nothing. What it does before the clock
        runs is in the figure as well, as so much per call.
        """
        shown, samples_s = self.counted, [max(value, self.resolution_s) for value in self.samples_s]
        back_to_back_s = None
        if (self.is_batched or self.is_unclear) and self.series.alone:
            back_to_back_s, bound_s = statistics.median(samples_s), max(self._suspicion.bound_s, self.resolution_s)
            shown = self.series.alone
            middle_s = statistics.median(self.calls.alone_s)
            samples_s = [bound_s + max(wall_s - middle_s, 0.0) for wall_s in self.calls.alone_s]
        samples_ms = [(value + self.ahead_s) * 1e3 for value in samples_s]
        ordered = sorted(samples_ms)
        several = max(one.calls for one in shown) > 1
        return Timing(
            stats=stats.runtime_stats(samples_ms),
            interval_ms=stats.telling_interval(ordered),
            mode=mode,
            samples_ms=tuple(samples_ms),
            calls=tuple(one.calls for one in shown),
            walls_ms=tuple(one.wall_s * 1e3 for one in shown),
            nulls=tuple((calls, cost_s * 1e3) for calls, cost_s in self.series.null),
            c0_us=self.null.of(1) * 1e6,
            c0_slope_us=self.null.per_call_s * 1e6,
            rse=stats.relative_standard_error(samples_ms),
            target_rse=target_rse,
            stop=stop,
            isolated_ms=_ms(self.calls.isolated_s),
            back_to_back_ms=_ms(back_to_back_s),
            launched_ms=_ms(self._called_s()),
            inside_ms=_ms(self.calls.inside_s),
            copy_ms=_ms(self.copy_s),
            line_fit_residual=self._line_residual() if several else None,
            footprint_bytes=footprint_bytes,
            dropped_rounds=len(self.series.rounds) - len(self.rounds),
            clocks=_medians([one.reading for one in shown]),
            sm_mhz=_known([one.reading.sm_mhz for one in shown]),
            labels=tuple(self._labels()),
        )

    @cached_property
    def calls(self) -> CallTimes:
        """What rounds of many calls and of one say."""
        alone, copy_s = self.series.alone, (self.copy_s or 0.0) if self.subtracts_copy else 0.0
        return CallTimes(
            usual_s=self.usual_s,
            alone_s=[one.wall_s - copy_s for one in alone],
            nulls_s=self.series.alone_null,
            inside_s=_inside_s(self.counted),
            alone_inside_s=[one.inside_s for one in alone if one.inside_s is not None],
        )

    def _called_s(self) -> float | None:
        if not self.series.called or not self.series.called_null:
            return None
        null = NullCost.through(self.series.called_null)
        return max(statistics.median(self.per_call_s(self.series.called, null)), 0.0)

    def _line_residual(self) -> float:
        """How far the rounds lie from one line through the null candidate's intercept: root mean square, relative."""
        base_s, rounds = self.null.base_s, self.counted
        slope = sum(one.calls * (one.wall_s - base_s) for one in rounds) / sum(one.calls**2 for one in rounds)
        residuals = [(one.wall_s - base_s - slope * one.calls) / one.wall_s for one in rounds]
        return float(statistics.fmean(value**2 for value in residuals) ** 0.5)

    def _labels(self) -> list[str]:
        found = {
            "below_resolution": self.usual_s <= self.resolution_s,
            "few_rounds": len(self.rounds) < FEWEST_ROUNDS,
            "copy_subtracted": self.returns and self.subtracts_copy,
            "copy_included": self.returns and not self.subtracts_copy,
            "within_copy": self._is_within_copy,
            "batched": self.is_batched,
            "alone_unclear": self.is_unclear,
            "prepared": self.ahead_s > 0,
            "may_be_prepared": not self.is_outlasted,
            "content_cache": self.is_cached,
            "launch_bound": self._is_launch_bound,
            "off_the_line": self._is_off_the_line(),
            "throttled": any(one.reading.slowed for one in self.counted),
            "power_capped": sum(one.reading.capped for one in self.counted) * 2 > len(self.counted),
        }
        return [label for label, applies in found.items() if applies]

    def _is_off_the_line(self) -> bool:
        """Whether the rounds' own line does not begin where the null candidate's does: then a round costs something
        that its calls do not explain."""
        points = [(float(one.calls), one.wall_s) for one in self.counted]
        error_s = stats.intercept_error(points)
        if error_s is None:
            return False
        error_s *= stats.student_quantile(_BY_CHANCE, len(points) - 2)
        apart_s = abs(stats.fit_line(points)[0] - self.null.base_s)
        usual_s = statistics.fmean(one.wall_s for one in self.counted)
        return apart_s > max(_OFF_THE_LINE * usual_s, math.hypot(error_s, self._null_error_s))

    @property
    def _null_error_s(self) -> float:
        """How far off the null's intercept may be by chance. Single disturbed null rounds do not move the intercept,
        and do not make this larger."""
        points = [(float(calls), wall_s) for calls, wall_s in self.series.null]
        deviations = [wall_s - self.null.of(calls) for calls, wall_s in self.series.null]
        error_s = stats.intercept_error(points, stats.robust_deviation(deviations))
        return 0.0 if error_s is None else error_s * stats.student_quantile(_BY_CHANCE, len(points) - 2)

    @property
    def is_batched(self) -> bool:
        """Whether a call does the work of others; or calls cost less than a kernel's launch in a graph, so they launch
        none of their own."""
        if not self.is_suspect:
            return False
        if self._is_below_a_launch and self.resolution_s < self._least_s:
            return True
        return self._suspicion.is_proved

    @property
    def _is_below_a_launch(self) -> bool:
        return self.usual_s < self._least_s

    @property
    def _least_s(self) -> float:
        """A call that costs less launches no kernel of its own; 0 where that is not known."""
        return _BELOW_A_LAUNCH * statistics.median(self._touches_s()) if self.series.touch else 0.0

    @property
    def may_be_batched(self) -> bool:
        """Worth more rounds of one call: a few of them scatter."""
        return self.is_suspect and (self.is_batched or self.is_unclear or self._suspicion.is_there)

    @property
    def is_cleared(self) -> bool:
        """Whether it is known, without more rounds of one call, that no call does the work of others."""
        return self._suspicion.is_cleared

    @property
    def is_unclear(self) -> bool:
        """Whether it cannot be seen if a call does the work of others, because too much else goes on: what looks
        cheaper than a launch may be one, where launches cannot be told from nothing. What else lies below the
        resolution is a bound already."""
        if not self.is_suspect or self.is_batched:
            return False
        return self._is_below_a_launch or (self.usual_s > self.resolution_s and self._suspicion.is_open)

    @cached_property
    def _suspicion(self) -> Suspicion:
        other = self.peer.calls if self.peer else None
        return Suspicion(self.calls, other, self.noise_s, in_pairs=self.in_pairs, is_cold=self.is_cold)

    @property
    def ahead_s(self) -> float:
        """What a call takes beyond what is timed of it, in calls that only wake the cell up; 0 unless that is much."""
        return self._waking.ahead_s / self._calls_of_a_round if self.is_suspect else 0.0

    @property
    def may_be_ahead(self) -> bool:
        """Worth more rounds, for what waking it up takes."""
        return self.is_suspect and self._waking.may_be_ahead

    @cached_property
    def _waking(self) -> Waking:
        """A call that has no others before it may cost more than one of many. How much more is what it costs a
        reference: a kernel that is slow alone on purpose hides nothing in its waking up."""
        honest = self.peer or (None if self.is_suspect else self)
        alone_more_s = honest.calls.excess_s if honest else None
        usual_s = self.usual_s + max(alone_more_s or 0.0, 0.0)
        told = [one.woken for one in self.counted if one.woken is not None]
        idle_s = self.null.base_s + self.stopping_s
        return Waking(
            spent_s=sorted(woken_s - idle_s - calls * usual_s for calls, woken_s in told),
            calls_s=self._calls_of_a_round * max(self.usual_s, self.resolution_s),
            other=self.peer._waking if self.peer else None,
            in_pairs=self.in_pairs,
        )

    @property
    def _calls_of_a_round(self) -> float:
        return statistics.fmean(one.calls for one in self.counted)

    def _touches_s(self) -> list[float]:
        return [touching_s / calls for calls, touching_s in self.series.touch]

    @property
    def is_cached(self) -> bool:
        """Whether calls on equal contents cost less than calls on different ones, and save more than on the other side.
        A processor predicts branches that it has seen before, and may sort the same contents again in a third of the
        time."""
        theirs = self.peer.share_of_equal if self.peer else None
        honest = 1.0 if theirs is None else min(max(theirs, _FORESEEN), 1.0)
        return self.share_of_equal is not None and self.share_of_equal < _CACHED * honest

    @cached_property
    def share_of_equal(self) -> float | None:
        """What a call on equal contents costs, at most, as a share of the fastest on different ones. Those beside it
        count too, because clocks may have gone up meanwhile."""
        if not self.series.equal:
            return None
        fastest_s = min([*self.samples_s, *self.per_call_s(self.series.unlike)])
        equal_s = max(self.per_call_s(self.series.equal)) + self.resolution_s
        return equal_s / fastest_s if fastest_s > 0 else math.inf

    @property
    def _is_within_copy(self) -> bool:
        """Whether it is faster than the other side, and gains no more than a kernel would that finds the slot, answers
        there and returns that: a tensor is not copied to itself."""
        if not self.is_suspect or self.peer is None or not (self.returns and self.peer.returns) or self.copy_s is None:
            return False
        theirs_s = self.peer.samples_s
        is_faster = stats.telling_interval(sorted(self.samples_s))[1] < min(theirs_s) * (1 - APART)
        return is_faster and statistics.median(theirs_s) - self.usual_s <= _COPIES_VARY * self.copy_s

    @property
    def _is_launch_bound(self) -> bool:
        """Launched one by one, its kernels take longer to launch than to run."""
        called_s = self._called_s()
        return called_s is not None and called_s > _LAUNCH_BOUND * max(self.usual_s, self.resolution_s)


def _inside_s(rounds: Sequence[Round]) -> float | None:
    """What the cell says a call took."""
    claims = [one.inside_s / one.calls for one in rounds if one.inside_s is not None]
    return statistics.median(claims) if claims else None


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else value_s * 1e3


def _known(values: Sequence[float | None]) -> tuple[float, ...]:
    """All of them, or none where one is missing."""
    found = tuple(value for value in values if value is not None)
    return found if len(found) == len(values) else ()


def _medians(readings: Sequence[Reading]) -> dict[str, float]:
    names = ("sm_mhz", "memory_mhz", "temperature_c", "power_w")
    columns = {name: _known([getattr(reading, name) for reading in readings]) for name in names}
    return {name: statistics.median(values) for name, values in columns.items() if values}
