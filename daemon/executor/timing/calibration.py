"""When null rounds are taken, how long they have to be, and whose rounds they are subtracted from.

Theory of operation: where calls are launched one by one, null rounds do nothing and are taken before and after. Where
rounds are launches of graphs, null rounds work for as long as the kernel does (`nulls`). How long that is, the fastest
of a few rounds tells: the first alone may be anything, and nulls of a wrong length have to be taken anew. From then on
one comes beside every round, because what a round costs drifts.

Arenas of the same layout cost the same, where nulls work only under kernels that take about as long. Their null rounds
count for both sides. That is half as many, and what they are off by is the same for both, so that it does not come
between two kernels.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from daemon.executor.timing.nulls import Nulls
from daemon.executor.timing.round_turns import RoundTurns
from daemon.executor.timing.series import CLOCK_TICK_S, NullCost, Series
from daemon.executor.timing.side import SidePlace
from daemon.executor.timing.side_round import NullKernel

ROUNDS_BEFORE_NULLS = 3  # where those are to be as long as a call
_OTHER = 1.3  # times as long: not the same any more
_UNTOLD_S = 1e-4  # that two rounds are apart by, and may be by chance: a null that is off by it is off by 4 us
_NULL_ROUNDS = 3
_NULLS_ANEW = 2  # of each size, where the ones before are forgotten and few may be left to come


class Calibration:
    """Fills in `null` and `copying` of `series`, one for each of `places`. `overhead_s`: what a round costs by itself,
    as sizing found it."""

    def __init__(self, nulls: Nulls, places: Sequence[SidePlace], series: Sequence[Series], turns: RoundTurns) -> None:
        self._nulls = nulls
        self._places = places
        self._series = series
        self._turns = turns
        self.overhead_s = 0.0

    @property
    def stopping_s(self) -> float:
        """What it costs a round to stop a cell and to find the device idle, when it has been woken up and when it is
        done, by the null candidate's, which does nothing then."""
        return 2 * statistics.median(self._nulls.stopped_s or [0.0])

    def costs(
        self, index: int, sizes: list[int], *, kind: NullKernel | None = None, replay: bool | None = None
    ) -> list[tuple[int, float]]:
        """As `Nulls.costs_s`: of what stands in for a kernel in the rounds as they are now, unless told otherwise."""
        replay = self._turns.replay if replay is None else replay
        return self._nulls.costs_s(index, kind or _stand_in(replay=replay), sizes, replay=replay)

    def around(self, slots: int) -> None:
        """Take nulls before the rounds, or after them, where those are not launches of graphs: at one call, at half and
        at all of them."""
        for indices in self._sharing():
            self._extend(indices, indices[0], sorted({1, _half(slots), slots}) * _NULL_ROUNDS)

    def copies(self, slots: int) -> None:
        """Time the copy of returned answers into their slots. What the null candidate copies goes when its maps do."""
        for index, (place, series) in enumerate(zip(self._places, self._series, strict=True)):
            if place.wiring.returns:
                found = self.costs(index, [slots] * _NULL_ROUNDS, kind=NullKernel.COPY)
                base = None if self._turns.replay else NullCost.through(series.null)
                series.copying += [(calls, cost_s - (base.of(calls) if base else 0.0)) for calls, cost_s in found]
        if any(place.wiring.returns for place in self._places):
            self._nulls.detach()

    def beside(self, slots: int) -> None:
        """Called after a round that is the launch of a graph, once there are a few. Takes the first nulls, which tell
        how long they should have been; new ones, if those so far do not suit the kernel any more; and one more."""
        without = [index for index, series in enumerate(self._series) if not series.null]
        for index in without:
            rounds = self._series[index].rounds
            self._nulls.call_s[index] = max(min((one.wall_s - self.overhead_s) / one.calls for one in rounds), 0.0)
        sizes = [_half(slots), slots]
        self._add(without, sizes)
        unsuited = [index for index in range(len(self._series)) if self._set_length(index, is_first=bool(without))]
        for index in unsuited:
            self._series[index].null.clear()
        self._add(unsuited, sizes * _NULLS_ANEW)
        number, sides = len(self._series[0].rounds), range(len(self._series))
        self._add(sides, [slots if number % 2 else _half(slots)], arena=number // 2 % len(sides))

    def _set_length(self, index: int, *, is_first: bool) -> bool:
        """Set for how long the null has to work, if that is far from what it should be. Returns whether it was.

        Too long: the null costs more than the fastest round did, and too much would be subtracted from a kernel that
        was slow only before the clock ran. Much too short: looked at only after the first nulls (`is_first`).
        """
        series = self._series[index]
        cost = NullCost.through(series.null)
        fastest_s = max(min((one.wall_s - cost.of(one.calls)) / one.calls for one in series.rounds), 0.0)
        so_far_s = self._nulls.call_s[index]
        if so_far_s > _OTHER * fastest_s + CLOCK_TICK_S or (is_first and fastest_s > _OTHER * so_far_s):
            self._nulls.call_s[index] = fastest_s
            return True
        return False

    def alone(self, count: int) -> None:
        """Take `alone_null`: what so many rounds of one call cost without the call. Where they are graphs, a null so
        short need not be as long as the kernel."""
        if not count:
            return
        for indices in self._sharing():
            costs_s = [cost_s for _, cost_s in self.costs(indices[0], [1] * count)]
            for index in indices:
                self._series[index].alone_null += costs_s

    def _sharing(self) -> list[list[int]]:
        """The sides, those together whose null rounds cost the same where they do nothing."""
        sides = list(range(len(self._series)))
        return [sides] if self._have_one_outline else [[index] for index in sides]

    @property
    def _have_one_outline(self) -> bool:
        return len({_outline(place) for place in self._places}) == 1

    @property
    def _are_alike(self) -> bool:
        """Whether a null round on either arena says what one costs on the other."""
        fewest = min(one.calls for one in self._series[0].rounds)
        is_as_long = max(self._nulls.call_s) <= _OTHER * min(self._nulls.call_s) + _UNTOLD_S / fewest
        return self._have_one_outline and is_as_long

    def _add(self, indices: Sequence[int], sizes: list[int], *, arena: int = 0) -> None:
        """Add nulls of these sizes, as `call_s` says, for the sides `indices`; where these are alike, on `arena` for
        all of them."""
        if len(indices) == len(self._series) and self._are_alike:
            self._extend(indices, arena, sizes)
        else:
            for index in indices:
                self._extend([index], index, sizes)

    def _extend(self, indices: Sequence[int], arena: int, sizes: list[int]) -> None:
        """Null rounds of these sizes on one arena, for the sides `indices`."""
        costs = self.costs(arena, sizes)
        for index in indices:
            self._series[index].null += costs


def _stand_in(*, replay: bool) -> NullKernel:
    return NullKernel.WORK if replay else NullKernel.LOOP


def _half(slots: int) -> int:
    return max(1, slots // 2)


def _outline(place: SidePlace) -> tuple[tuple[int, int, bool], ...]:
    """All that a null round can tell of an arena's slots."""
    return tuple((one.offset, one.tensor.size_bytes, one.poisoned) for one in place.attached.layout.fields)
