"""The timing protocol: random rounds of the candidate (and the reference between them), the null candidate around or
beside them.

Theory of operation: see the measurement explanation in docs/. How large rounds are is `sizing`, what one is `rounds`,
what is subtracted `calibration`; what the walls of all rounds come to is `figures`. Here is when they are taken, and
when there are enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from daemon.evaluation import Timing
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.patience import is_time_for, own_deadline
from daemon.executor.content.drawing import Drawer
from daemon.executor.content.inputs import Secret
from daemon.executor.timing.calibration import ROUNDS_BEFORE_NULLS, Calibration
from daemon.executor.timing.conditions import Conditions, Surroundings
from daemon.executor.timing.cores import Lane, kept_to
from daemon.executor.timing.figures import Account
from daemon.executor.timing.hoards import Hoard
from daemon.executor.timing.looks import Looks
from daemon.executor.timing.nulls import Nulls
from daemon.executor.timing.round_turns import RoundTurns, Turn
from daemon.executor.timing.rounds import COUNTS, Check, Rounds
from daemon.executor.timing.series import FEWEST_ROUNDS, Round, Series, kept
from daemon.executor.timing.side import SidePlace
from daemon.executor.timing.side_round import NotCaptured
from daemon.executor.timing.sizing import MeasureRules, Sizing
from daemon.executor.timing.stages import Stages

_GRAPH_NOISE_S, _STREAM_NOISE_S = 1e-5, 2e-5  # a call alone waits for its launch, and fetches its code from memory
_OUTLAST_AT_MOST_S = 30.0
_GROWN_AT_MOST = 3  # times, in the middle of rounds that count
_TIMES_LONGER = 8  # than usual, at most, are rounds then whose calls turn out to be no faster

Offer = Callable[[int, Sequence[int]], None]


class Measurement:
    """Times the places of one case. `check(round, slots)` compares all outputs of the round; it raises what it
    finds. `offer(number, slots)`: a round that counts, the `number`th, has been found right. `one_by_one` is called
    before the first of them, where rounds are calls one by one. Use once."""

    def __init__(
        self,
        places: list[SidePlace],
        null: Cell,
        drawer: Drawer,
        secret: Secret,
        rules: MeasureRules,
        conditions: Conditions,
        check: Check,
        offer: Offer,
        *,
        one_by_one: Callable[[], None],
        stages: Stages,
        lane: Lane | None = None,
    ) -> None:
        self._stages = stages
        self._lane = lane
        self._places = places
        self._drawer = drawer
        self._rules = rules
        self._offer = offer
        self._turns = RoundTurns(secret.host_generator("turns"))
        surroundings = Surroundings(conditions, [place.cell for place in places])
        self._rounds = Rounds(places, drawer, secret, surroundings, self._turns, check)
        self._nulls = Nulls(null, places, surroundings, self._rounds.plan, self._rounds.pause)
        self._sizing = Sizing(places, self._rounds, self._turns, self._nulls, drawer, rules, one_by_one)
        self._hoard = Hoard(places[0].cell, [null, *(place.cell for place in places[1:])])
        self._is_outlasted = True
        self._forget()
        self._progress: Callable[[str], None] = lambda _: None
        self.not_captured: str | None = None

    @property
    def is_capturing(self) -> bool:
        """Whether a kernel is being captured, or its process has ended over it."""
        return self._rounds.is_capturing

    def run(self, estimate_s: float, deadline: float, progress: Callable[[str], None]) -> list[Timing]:
        """Take rounds until they are precise enough or the time is over. Returns one `Timing` per place, in order.

        Raises `CellFailed` for what a kernel did, `HarnessError` when the null candidate failed.
        """
        self._progress = progress
        with kept_to(self._lane, [*(place.cell for place in self._places), self._nulls.cell]):
            try:
                found = self._run(estimate_s, deadline, as_graph=self._rules.graph)
                self.not_captured = self._sizing.not_captured
            except NotCaptured as reason:
                self.not_captured, self._turns.replay = str(reason), False
                self._forget()
                self._nulls.detach()
                found = self._run(estimate_s, deadline, as_graph=False)
            finally:
                self._nulls.detach()
        return found

    def _forget(self) -> None:
        """Nothing has been measured yet, or what has been does not count."""
        self._series = [Series() for _ in self._places]
        self._calibration = Calibration(self._nulls, self._places, self._series, self._turns)

    def _run(self, estimate_s: float, deadline: float, *, as_graph: bool) -> list[Timing]:
        start, stage = time.monotonic(), self._stages.stage
        with stage("size"):
            calls = self._sizing.first(estimate_s, deadline, self._calibration, as_graph=as_graph)
        stop, times_left = None, _GROWN_AT_MOST
        while stop is None:
            with stage("calibrate"):
                if not self._turns.replay:
                    self._calibration.around(calls)
                self._calibration.copies(calls)
            with stage("rounds"):
                stop = self._until_enough(calls, start, deadline, may_grow=times_left > 0)
            if stop is None:
                times_left -= 1
                with stage("size"):
                    calls = self._grown(deadline, is_last=not times_left)
        with stage("rounds"):
            self._outlast(calls, deadline)
        with stage("calibrate"):  # before the looks, which go by what a call costs
            if not self._turns.replay:
                self._calibration.around(calls)
        with stage("alone"):
            self._looks().take(calls, deadline)
        return [self._timing(index, stop) for index in range(len(self._places))]

    def _grown(self, deadline: float, *, is_last: bool) -> int:
        """The calls of a round, from what they take in rounds that count; all these rounds are forgotten.

        The last time it goes about by what they take the reference, if there is one. Otherwise a kernel that is slow
        until then would have short rounds for good.
        """
        fastest_s = self._fastest_s
        if is_last:
            fastest_s = max(self._fastest_each_s[-1], fastest_s / _TIMES_LONGER)
        overhead_s = self._calibration.overhead_s
        self._forget()
        self._calibration.overhead_s = overhead_s
        return self._sizing.again(fastest_s, deadline)

    def _until_enough(self, calls: int, start: float, deadline: float, *, may_grow: bool) -> str | None:
        """Take rounds of up to `calls` calls until there are enough. Returns what ended them; None if they turn out to
        be far too short, and `may_grow`."""
        rules = self._rules
        longest_s = 0.0
        self._look_at_memory()
        while True:
            began = time.monotonic()
            turn = self._turns.usual()
            self._one_round(turn, COUNTS, deadline, lambda series: series.rounds)
            count = len(self._series[0].rounds)
            self._offer(count, turn.order)
            self._look_at_memory()
            longest_s = max(longest_s, time.monotonic() - began)
            if self._turns.replay:  # calls one by one are long against what a round of them costs
                if count < ROUNDS_BEFORE_NULLS and is_time_for(longest_s, deadline):
                    continue
                self._calibration.beside(calls)
                if count > ROUNDS_BEFORE_NULLS:  # the first nulls are many, and come once
                    longest_s = max(longest_s, time.monotonic() - began)
            worst = self._worst_rse()
            self._progress(so_far(worst, time.monotonic() - start, rules))
            counted = self._account(0).counted
            enough = len(counted) >= rules.min_rounds and sum(one.calls for one in counted) >= rules.min_calls
            if enough and worst is not None and worst <= rules.target_rse:
                return "precision"
            if time.monotonic() - start >= rules.max_s and count >= FEWEST_ROUNDS:
                return "time"
            if not is_time_for(longest_s, deadline):
                return "time"
            if may_grow and self._sizing.are_too_few(calls, self._fastest_s, deadline):
                return None

    def _outlast(self, calls: int, deadline: float) -> None:
        """More rounds, in time of evald's own, for one of two reasons. The memory that the candidate holds may be what
        its calls need, made before the first round (on a CPU only: a GPU's memory is not looked at). Or few rounds
        excuse what it does before each of them: it may have used up the contract's time."""
        slowest_s = max((one.wall_s for series in self._series for one in series.rounds), default=0.0)
        longest_s, deadline = 0.0, own_deadline(deadline, slowest_s)
        until = min(deadline, time.monotonic() + _OUTLAST_AT_MOST_S)
        while not self._outlasts() and is_time_for(longest_s, until):
            began = time.monotonic()
            turn = self._turns.usual()
            self._one_round(turn, COUNTS, deadline, lambda series: series.rounds)
            self._offer(len(self._series[0].rounds), turn.order)
            if self._turns.replay:
                self._calibration.beside(calls)
            longest_s = max(longest_s, time.monotonic() - began)
        self._is_outlasted = self._outlasts()

    def _look_at_memory(self) -> None:
        if not self._rules.in_pairs:
            self._hoard.look()

    def _outlasts(self) -> bool:
        self._look_at_memory()
        account = self._account_beside(0)
        return self._hoard.is_outlasted(account.taken_s) and not account.may_be_ahead

    def _one_round(
        self, turn: Turn, purpose: str, deadline: float, into: Callable[[Series], list[Round]], *, equal: bool = False
    ) -> None:
        """As `Rounds.one`. `into`: where in a series it goes."""
        if purpose != COUNTS:
            self._progress("looking closer")
        self._rounds.one(turn, purpose, deadline, [into(series) for series in self._series], equal=equal)

    def _looks(self) -> Looks:
        return Looks(
            self._places,
            self._series,
            self._turns,
            self._calibration,
            self._one_round,
            self._account_beside,
            in_pairs=self._rules.in_pairs,
            has_secrets=any(self._drawer.is_secret(index) for index in range(len(self._drawer.logicals))),
        )

    # -- what the rounds so far come to ---------------------------------------------------------------------------

    @property
    def _fastest_s(self) -> float:
        """What a call of the slower side takes in its fastest round so far, if that can be told from nothing."""
        return max(self._fastest_each_s)

    @property
    def _fastest_each_s(self) -> list[float]:
        """The same of each side."""
        accounts = [self._account(index) for index in range(len(self._places))]
        return [max(min(one.samples_s), one.resolution_s) for one in accounts]

    def _account(self, index: int) -> Account:
        wirings = [place.wiring for place in self._places]
        subtracts_copy = index > 0 and wirings[index].returns and not wirings[0].returns
        return Account(
            self._series[index],
            kept(self._series),
            wirings[index].returns,
            subtracts_copy,
            _GRAPH_NOISE_S if self._turns.replay else _STREAM_NOISE_S,
            in_pairs=self._rules.in_pairs,
            is_cold=not self._turns.replay,
            is_suspect=index == 0,
            stopping_s=self._calibration.stopping_s,
        )

    def _account_beside(self, index: int) -> Account:
        """The same, and the other side's with it."""
        peers = [self._account(other) for other in range(len(self._places)) if other != index]
        return replace(self._account(index), peer=peers[0] if peers else None)

    def _worst_rse(self) -> float | None:
        found = [self._account(index).rse for index in range(len(self._places))]
        known = [value for value in found if value is not None]
        return max(known) if len(known) == len(found) else None

    def _timing(self, index: int, stop: str) -> Timing:
        return replace(self._account_beside(index), is_outlasted=index > 0 or self._is_outlasted).timing(
            mode="graph" if self._turns.replay else "stream",
            stop=stop,
            target_rse=self._rules.target_rse,
            footprint_bytes=self._places[index].attached.layout.footprint_bytes,
        )


def so_far(rse: float | None, spent_s: float, rules: MeasureRules) -> str:
    """How precise the figures are by now, and what ends the rounds: `timing: ± 18 % after 0.7 s, ends at ± 0.3 % or
    2 s`."""
    reached = f"{_percent(rse)} " if rse is not None else ""
    return f"timing: {reached}after {spent_s:.1f} s, ends at {_percent(rules.target_rse)} or {rules.max_s:g} s"


def _percent(value: float) -> str:
    return f"± {float(f'{value * 100:.2g}'):g} %"  # two digits: 123 is 120
