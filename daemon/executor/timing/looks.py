"""What is looked at beside the figure, once that is known: calls alone, equal contents, calls from the kernel's own
language.

Theory of operation: each look is a few rounds more, and adds them to the series of both sides. What they tell is worked
out by `figures` and `batching`. Most kernels need no more than one or three of each; a kernel that looks odd gets more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from daemon.executor.cells.patience import is_time_for, own_deadline
from daemon.executor.timing.calibration import Calibration
from daemon.executor.timing.figures import Account
from daemon.executor.timing.round_turns import RoundTurns, Turn
from daemon.executor.timing.series import Round, Series
from daemon.executor.timing.side import SidePlace
from daemon.executor.timing.side_round import NullKernel

_ISOLATED_ROUNDS = 3
_SUSPICIOUSLY_MANY, _AT_A_TIME = 40, 10
_MUCH_FASTER = 2
_EXTRA_ROUNDS = 3  # of equal contents, where the first one looks as if somebody remembered them
_NULLS = 2  # of calls one by one, and of the smallest kernels
_FEW_CALLS, _CALLS_ONE_BY_ONE = 8, 64
_BYTES_ONE_BY_ONE = 1 << 30  # large contents make a call last, and few calls tell then
_NEAR_A_LAUNCH_S = 5e-6  # calls beyond it cannot be cheaper than the launch of a kernel
_LAUNCHES_THAT_TELL = 16


class OneRound(Protocol):
    """One timed round of every place on the same contents, `equal`: on one content in every slot. `into`: where it
    goes."""

    def __call__(
        self, turn: Turn, purpose: str, deadline: float, into: Callable[[Series], list[Round]], *, equal: bool = False
    ) -> None: ...


class Looks:
    """Adds to `series`, one for each of `places`. `account`: the figures of a side by now, given the other side's.
    `in_pairs`: pairs of rounds tell who does the work of others. `has_secrets`: contents change from call to call."""

    def __init__(
        self,
        places: Sequence[SidePlace],
        series: Sequence[Series],
        turns: RoundTurns,
        calibration: Calibration,
        one_round: OneRound,
        account: Callable[[int], Account],
        *,
        in_pairs: bool,
        has_secrets: bool,
    ) -> None:
        self._places = places
        self._series = series
        self._turns = turns
        self._calibration = calibration
        self._one_round = one_round
        self._account = account
        self._in_pairs = in_pairs
        self._has_secrets = has_secrets

    def take(self, slots: int, deadline: float) -> None:
        """Take all of them, in rounds of up to `slots` calls. Each has time of its own."""
        slowest_s = max(one.wall_s for series in self._series for one in series.rounds)
        for look in (self._isolated, self._equal_contents, self._one_by_one):
            look(slots, own_deadline(deadline, slowest_s))

    # -- calls alone --------------------------------------------------------------------------------------------

    def _isolated(self, slots: int, deadline: float) -> None:
        """Rounds of one call, which cannot share work with neighbours; null rounds before and after. A candidate that
        looks as if its calls share work gets many, and twice as many more where those do not tell."""
        self._alone(_ISOLATED_ROUNDS, deadline)
        if self._looks_batched():
            self._look_closer(deadline)
        if not self._turns.replay or slots < _LAUNCHES_THAT_TELL:
            return
        for index, (place, series) in enumerate(zip(self._places, self._series, strict=True)):
            # Nothing to write takes no kernel, and who takes longer than a launch has had one.
            is_short = self._account(index).usual_s < _NEAR_A_LAUNCH_S
            if is_short and any(field.tensor.count for field in place.answer_fields()):
                series.touch += self._calibration.costs(index, [slots] * _NULLS, kind=NullKernel.TOUCH)

    def _looks_batched(self) -> bool:
        """Whether the candidate is worth a closer look: it is so much faster than the reference by the figures that are
        shown, or its calls alone took so much longer. What lies below the resolution is shown as the resolution: if
        both do, on a busy CPU, either may seem to be any number of times as fast."""
        if len(self._places) > 1 and self._shown_s(0) < self._shown_s(1) / _MUCH_FASTER:
            return True
        return self._account(0).may_be_batched

    def _look_closer(self, deadline: float) -> None:
        """A few at a time: what long calls share is seen in few."""
        for _ in range(_SUSPICIOUSLY_MANY // _AT_A_TIME):
            self._alone(_AT_A_TIME, deadline)
            if self._account(0).is_cleared:
                return
        account = self._account(0)
        if self._in_pairs and account.may_be_batched and not account.is_batched:
            self._alone(2 * _SUSPICIOUSLY_MANY, deadline)

    def _alone(self, wanted: int, deadline: float) -> None:
        """Rounds of one call. Null rounds stand around all of them where pairs tell, and else after each: what they
        cost is subtracted, and on a busy machine it changes from one moment to the next."""
        around, beside = (-(-wanted // 2), 0) if self._in_pairs else (0, 1)
        self._calibration.alone(around)
        for _ in _while_time(wanted, deadline):
            self._one_round(self._turns.single(), "isolated", deadline, lambda series: series.alone)
            self._calibration.alone(beside)
        self._calibration.alone(around)

    def _shown_s(self, index: int) -> float:
        account = self._account(index)
        return max(account.usual_s, account.resolution_s)

    # -- contents and launches ----------------------------------------------------------------------------------

    def _equal_contents(self, slots: int, deadline: float) -> None:
        """Rounds with one content in every slot: a kernel that remembers contents is faster there. If the first one
        looks like that, others follow, each with a usual one beside it."""
        if slots == 1 or not self._has_secrets:
            return
        for number in _while_time(_EXTRA_ROUNDS, deadline):
            if number:
                self._one_round(self._turns.whole(), "unlike", deadline, lambda series: series.unlike)
            self._one_round(self._turns.whole(), "equal", deadline, lambda series: series.equal, equal=True)
            if not any(self._account(index).is_cached for index in range(len(self._places))):
                return

    def _one_by_one(self, slots: int, deadline: float) -> None:
        """Rounds of calls that are launched from the kernel's own language, where the figure is that of a graph's
        launch."""
        if not self._turns.replay:
            return
        slot_bytes = max(place.attached.layout.stride for place in self._places)
        calls = min(slots, _CALLS_ONE_BY_ONE, max(_FEW_CALLS, _BYTES_ONE_BY_ONE // slot_bytes))
        self._one_round(self._turns.few(calls), "called", deadline, lambda series: series.called)
        costs = self._calibration.costs(0, [calls] * _NULLS, replay=False)  # on either arena, about
        for series in self._series:
            series.called_null += costs


def _while_time(count: int, deadline: float) -> Iterator[int]:
    """Up to `count` rounds, as long as there is time for one that takes twice as long as the longest; the first in any
    case."""
    longest_s = 0.0
    for number in range(count):
        start = time.monotonic()
        if number and not is_time_for(longest_s, deadline):
            return
        yield number
        longest_s = max(longest_s, time.monotonic() - start)
