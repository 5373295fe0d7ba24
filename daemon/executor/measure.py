"""The timing protocol: random rounds of the candidate (and the reference between them), the null candidate around or
beside them.

Theory of operation: see the measurement explanation in docs/. One round: fresh secret content in every slot, the cell
frozen, the GPU idle and its caches cold; the clock starts; a last secret part is written; the cell thaws and calls its
kernel once per slot; "done" arrives; bytes of every output are read; the clock stops; everything is compared.
What the walls of all rounds come to is `timings`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from daemon.evaluation import Failure, Timing
from daemon.executor.calibration import ROUNDS_BEFORE_NULLS, Calibration
from daemon.executor.conditions import Conditions, Surroundings
from daemon.executor.conversation import Cell, CellFailed
from daemon.executor.cores import Lane, kept_to
from daemon.executor.drawing import Drawer
from daemon.executor.inputs import Secret
from daemon.executor.layout import Field
from daemon.executor.looks import Looks
from daemon.executor.nulls import Nulls
from daemon.executor.patience import is_time_for
from daemon.executor.round_turns import RoundTurns, Turn
from daemon.executor.side import (
    NotCaptured,
    RoundPlan,
    RoundResult,
    SidePlace,
    capture,
    plan_round,
    require_captured,
    rouse,
    run_timed,
    run_untimed,
)
from daemon.executor.stages import Stages
from daemon.executor.timings import CLOCK_TICK_S, FEWEST_ROUNDS, Account, Round, Series, kept
from daemon.verdict import Phase, Verdict

_STREAM_ROUND_S = 0.05
_GRAPH_ROUND_S = 0.01  # what a round costs varies by 40 us; longer ones cost more contents
_FEW_CALLS = 8
_SIZING_CALLS = 16
_FEWEST_SIZING = 2
_SIZING_BYTES = 1 << 30
_LEAST_SHARE = 0.05  # of a sizing round that its calls take at least, whatever the null candidate says
_GRAPH_NOISE_S, _STREAM_NOISE_S = 1e-5, 2e-5  # a call alone waits for its launch, and fetches its code from memory
_CHECKING_ANY_S = 0.01  # however little there is
_CALLS_A_SECOND = 20_000  # of measuring: laying out and capturing more takes too long, and a cell has no say in it
_GROWN_AT_MOST, _WORTH_GROWING = 3, 2  # many slots are filled faster, each, than a few
_WORTH_RESTARTING = 2
_PAUSE_LIMIT_S = 60.0
_COUNTS = "round"  # the purpose of rounds that do


@dataclass(frozen=True)
class MeasureRules:
    """When to stop and how large a round may be."""

    max_s: float
    target_rse: float
    min_rounds: int
    min_calls: int
    max_calls: int
    arena_bytes: int
    graph: bool = False  # time launches of CUDA graphs, where every kernel lets itself be captured
    in_pairs: bool = False  # tell from pairs of rounds of one call who does the work of others


Check = Callable[[int, list[int]], None]
Offer = Callable[[int, Sequence[int]], None]


class Measurement:
    """Times the places of one case. `check(round, slots)` compares all outputs of the round; it raises what it
    finds. `offer(number, slots)`: a round that counts, the `number`th, has been found right."""

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
        stages: Stages,
        lane: Lane | None = None,
    ) -> None:
        self._stages = stages
        self._lane = lane
        self._places = places
        self._drawer = drawer
        self._secret = secret
        self._rules = rules
        self._surroundings = Surroundings(conditions, [place.cell for place in places])
        self._nulls = Nulls(null, places, self._surroundings, self._plan, self._pause)
        self._check = check
        self._offer = offer
        self._content = secret.generator("content")
        self._round = 0
        self._plans = self._pauses = 0
        self._turns = RoundTurns(secret.host_generator("turns"))
        self._forget()
        self._filled: list[int] = []  # the slots that have had contents last
        self._filling_s = self._checking_s = 0.0  # a slot, about
        self._sized_for_s = 0.0  # a call, as long as it was taken to be
        self._progress: Callable[[str], None] = lambda _: None
        self.not_captured: str | None = None

    def run(self, estimate_s: float, deadline: float, progress: Callable[[str], None]) -> list[Timing]:
        """Rounds until precise enough or out of time; one `Timing` per place, in order.

        Raises `CellFailed` for what a kernel did, `HarnessError` when the null candidate failed.
        """
        self._progress = progress
        with kept_to(self._lane, [*(place.cell for place in self._places), self._nulls.cell]):
            try:
                return self._run(estimate_s, deadline, as_graph=self._rules.graph)
            except NotCaptured as reason:
                self.not_captured, self._turns.replay = str(reason), False
                self._forget()
                self._nulls.detach()
                return self._run(estimate_s, deadline, as_graph=False)
            finally:
                self._nulls.detach()

    def _forget(self) -> None:
        """Nothing has been measured yet, or what has been does not count."""
        self._series = [Series() for _ in self._places]
        self._calibration = Calibration(self._nulls, self._places, self._series, self._turns)

    def _run(self, estimate_s: float, deadline: float, *, as_graph: bool) -> list[Timing]:
        start, stage = time.monotonic(), self._stages.stage
        with stage("size"):
            slots = self._sized(estimate_s, deadline, as_graph=as_graph)
        stop, times_left = None, _GROWN_AT_MOST
        while stop is None:
            with stage("calibrate"):
                if not self._replay:
                    self._calibration.around(slots)
                self._calibration.copies(slots)
            with stage("rounds"):
                stop = self._rounds(slots, start, deadline, may_grow=times_left > 0)
            if stop is None:
                times_left -= 1
                with stage("size"):
                    slots = self._grown(deadline)
        with stage("calibrate"):  # before the looks, which go by what a call costs
            if not self._replay:
                self._calibration.around(slots)
        with stage("alone"):
            self._looks().take(slots, deadline)
        return [self._timing(index, stop) for index in range(len(self._places))]

    def _sized(self, estimate_s: float, deadline: float, *, as_graph: bool) -> int:
        """Calls per round, with every slot and kernel warm for as many; and whether rounds are launches of graphs."""
        few = min(_SIZING_CALLS, self._choose_slots(estimate_s / _SIZING_CALLS, deadline))
        slot_bytes = max(place.wiring.stride() for place in self._places)
        few = min(few, max(_FEWEST_SIZING, _SIZING_BYTES // slot_bytes))  # what is large takes long by itself
        self._warm_up(few, deadline)
        if as_graph:
            self._turns.replay = self._can_replay(deadline)
        walls_s = [self._warm_round(place, deadline) for place in self._places]
        overhead_s = min(cost_s for _, cost_s in self._calibration.costs(0, [few, few]))
        self._calibration.overhead_s = overhead_s
        for index, wall_s in enumerate(walls_s):
            self._nulls.call_s[index] = max(wall_s - overhead_s, _LEAST_SHARE * wall_s) / few
        slots, self._sized_for_s = few, max(self._nulls.call_s)
        for number in range(_GROWN_AT_MOST):
            wanted = self._choose_slots(self._sized_for_s, deadline)
            if wanted == slots or (number and wanted < _WORTH_GROWING * slots):
                break
            slots = wanted
            self._nulls.detach()
            self._warm_up(slots, deadline)
        self._capture_single(deadline)
        return slots

    def _grown(self, deadline: float) -> int:
        """Calls per round by what they take in rounds that count, all of which are forgotten: a kernel that is slow
        until then would have short ones, in which little can be told."""
        self._sized_for_s, overhead_s = self._fastest_s, self._calibration.overhead_s
        slots = self._choose_slots(self._sized_for_s, deadline)
        self._nulls.detach()
        self._forget()
        self._calibration.overhead_s = overhead_s
        self._warm_up(slots, deadline)
        self._capture_single(deadline)
        return slots

    @property
    def _fastest_s(self) -> float:
        """What a call of the slower side takes in its fastest round so far, as far as that can be told from none."""
        accounts = [self._account(index) for index in range(len(self._places))]
        return max(max(min(one.samples_s), one.resolution_s) for one in accounts)

    def _are_too_few(self, slots: int, deadline: float) -> bool:
        """Whether calls turn out to be so short that rounds of `slots` say little."""
        fastest_s = self._fastest_s
        if _WORTH_RESTARTING * fastest_s > self._sized_for_s:
            return False
        return self._choose_slots(fastest_s, deadline) >= _WORTH_RESTARTING * slots

    def _capture_single(self, deadline: float) -> None:
        """The graph of one call, which wakes cells up from then on."""
        if self._replay:
            turn = self._turns.single()
            for place in self._places:
                require_captured(self._capture(place, turn, deadline))

    def _choose_slots(self, call_s: float, deadline: float) -> int:
        """Calls per round: long enough to dwarf the overhead, small enough for memory, and for making and checking
        their contents in time."""
        rules = self._rules
        stride = max(place.wiring.stride() for place in self._places)
        call_s = max(call_s, CLOCK_TICK_S)
        usual_s = _GRAPH_ROUND_S if self._replay else _STREAM_ROUND_S
        by_time = max(1, round(usual_s / call_s), min(_FEW_CALLS, round(_STREAM_ROUND_S / call_s)))
        by_memory = max(1, rules.arena_bytes // stride)
        budget_s = min(rules.max_s, max(deadline - time.monotonic(), 0.0) / 3)
        handling_s = max(self._drawer.cost_s, self._filling_s + self._checking_s, 1e-7)
        by_handling = max(1, int(budget_s / (rules.min_rounds * handling_s)))
        by_max_s = max(_FEW_CALLS, int(_CALLS_A_SECOND * rules.max_s))
        return min(by_time, by_memory, by_handling, by_max_s, rules.max_calls)

    def _fill(self, slots: list[int], purpose: str, deadline: float, *, equal: bool = False) -> None:
        """Fresh guards, poison and inputs for every place, the same inputs on all of them; `equal`: the same in every
        slot."""
        self._filled = slots
        for place in self._places:
            place.attached.compose(self._content, slots)
        values = self._drawer.draw(purpose, self._round, slots[:1] if equal else slots, deadline=deadline)
        if equal:
            values = [value.expand(len(slots), *value.shape[1:]) for value in values]
        for place in self._places:
            fill(place, slots, values)

    def _restore(self) -> None:
        """The last contents once more where a kernel changes what it is given: it is woken up with them, and could make
        anything of what it left there itself."""
        for place in self._places:
            if any(placed.writable and not placed.poisoned for placed in place.attached.layout.fields):
                place.attached.publish(self._filled)

    def _warm_up(self, slots: int, deadline: float) -> None:
        """Every page of every slot touched once, and the kernel warm, on content nothing depends on."""
        for place in self._places:
            place.attach(slots, phase=Phase.MEASURE, deadline=deadline)
        self._turns.begin(slots)
        start = time.perf_counter()
        self._fill(self._turns.captured, "warm", deadline)
        self._filling_s = (time.perf_counter() - start) / slots
        if self._replay:
            require_captured(self._capture_usual(deadline))
        for place in self._places:
            self._warm_round(place, deadline)

    def _capture_usual(self, deadline: float) -> str | None:
        """The graph of a round's calls, in every cell; or why there is none."""
        for place in self._places:
            refusal = self._capture(place, self._turns.first, deadline)
            if refusal is not None:
                return refusal
        return None

    def _capture(self, place: SidePlace, turn: Turn, deadline: float) -> str | None:
        order, seed = list(turn.order), self._secret.seed("capture")
        return capture(place.cell, order, seed, phase=Phase.MEASURE, deadline=deadline, graph=turn.graph)

    def _warm_round(self, place: SidePlace, deadline: float, *, replay: bool | None = None) -> float:
        """Seconds it took, about: how large rounds have to be."""
        seed, as_graph = self._secret.seed("warm"), self._replay if replay is None else replay
        return run_untimed(place, self._turns.captured, seed, phase=Phase.MEASURE, deadline=deadline, replay=as_graph)

    def _can_replay(self, deadline: float) -> bool:
        """Whether every kernel can be captured as a CUDA graph whose launch gives right answers.

        Work that a kernel puts on a stream of its own choosing (the default one, say) is not captured, and its slots
        keep the poison: only the answers tell. They do on fresh contents: what ran while a graph was captured was
        right for those that were there then.
        """
        order = self._turns.captured
        self.not_captured = self._capture_usual(deadline)
        if self.not_captured is not None:
            return False
        self._fill(order, "capture", deadline)
        for place in self._places:
            self._warm_round(place, deadline, replay=True)
        start = time.perf_counter()
        try:
            self._check(0, order)
        except CellFailed as failed:
            self.not_captured = f"a launch of the captured graph does not do what the calls do: {failed}"
        self._checking_s = max(time.perf_counter() - start - _CHECKING_ANY_S, 0.0) / len(order)
        return self.not_captured is None

    @property
    def _replay(self) -> bool:
        """Whether rounds are launches of graphs."""
        return self._turns.replay

    def _plan(self, place: SidePlace, turn: Turn) -> RoundPlan:
        """Drawn from a generator of its own: what a cell sees of other rounds, their orders say, must not tell where
        the judge will look in this one. Torch's have 32 bits of seed: somebody with minutes to spare tries them all."""
        self._plans += 1
        random = self._secret.host_generator("plan", self._plans)
        return plan_round(place.attached, self._secret_fields(place), turn, random)

    def _secret_fields(self, place: SidePlace) -> list[Field]:
        fields = place.wiring.inputs(place.attached.layout)
        return [placed for logical, placed in fields if self._drawer.is_secret(logical)]

    def _rounds(self, slots: int, start: float, deadline: float, *, may_grow: bool) -> str | None:
        """Until there are enough, and why; None where they turn out to be far too short and `may_grow`."""
        rules = self._rules
        longest_s = 0.0
        while True:
            began = time.monotonic()
            turn = self._turns.usual()
            self._one_round(turn, _COUNTS, deadline, lambda series: series.rounds)
            self._offer(len(self._series[0].rounds), turn.order)
            count = len(self._series[0].rounds)
            longest_s = max(longest_s, time.monotonic() - began)
            if self._replay:  # calls one by one are long against what a round of them costs
                if count < ROUNDS_BEFORE_NULLS and is_time_for(longest_s, deadline):
                    continue
                self._calibration.beside(slots)
                if count > ROUNDS_BEFORE_NULLS:  # the first nulls are many, and come once
                    longest_s = max(longest_s, time.monotonic() - began)
            worst = self._worst_rse()
            self._progress(f"timing {_percent(worst)} of {_percent(rules.target_rse)}")
            counted = self._account(0).counted
            enough = len(counted) >= rules.min_rounds and sum(one.calls for one in counted) >= rules.min_calls
            if enough and worst is not None and worst <= rules.target_rse:
                return "precision"
            if time.monotonic() - start >= rules.max_s and count >= FEWEST_ROUNDS:
                return "time"
            if not is_time_for(longest_s, deadline):
                return "time"
            if may_grow and self._are_too_few(slots, deadline):
                return None

    def _one_round(
        self, turn: Turn, purpose: str, deadline: float, into: Callable[[Series], list[Round]], *, equal: bool = False
    ) -> None:
        """One timed round of every place, all on the same contents, all answers compared. `into`: where it goes.

        Cells are woken up right before the clock starts, unless they may know by then what they will be given.
        """
        self._round += 1
        self._restore()
        if purpose != _COUNTS:
            self._progress("looking closer")
        order = list(turn.order)
        sequence = list(range(len(self._places)))
        if self._round % 4 in (2, 3):  # A B B A
            sequence.reverse()
        if self._wakes_early:
            for index in reversed(sequence):
                self._rouse(index, turn, deadline)
        self._fill(order, purpose, deadline, equal=equal)
        results = {index: self._timed(index, turn, deadline) for index in sequence}
        self._check(self._round, order)
        for index in sequence:
            _require_unchanged(self._places[index], results[index])
        for index, series in enumerate(self._series):
            into(series).append(_as_round(results[index]))

    def _rouse(self, index: int, turn: Turn, deadline: float) -> None:
        place = self._places[index]
        with place.patience.waiting(len(turn.order), deadline) as limit:
            rouse(place.cell, turn, self._waking_seed, limit)

    @property
    def _wakes_early(self) -> bool:
        """Whether no cell is to run between the drawing of contents and the clock, where another cell draws them: what
        that one knows it may have a way to tell a kernel of the same source, which would work out everything for
        nothing. Launches of graphs are too short to be timed so (a round costs 0.1 ms more then, and not the same on
        both sides): with a reference, whose source is another one, they are not."""
        return self._drawer.is_told and (len(self._places) == 1 or not self._replay)

    def _pause(self) -> Callable[[], None] | None:
        """What lies between waking up and the clock, where cells wake early, for a null round."""
        return self._draw_for_nobody if self._wakes_early else None

    def _draw_for_nobody(self) -> None:
        self._pauses += 1
        self._drawer.draw("pause", self._pauses, self._filled, deadline=time.monotonic() + _PAUSE_LIMIT_S)

    @property
    def _waking_seed(self) -> int:
        return self._secret.seed("waking", self._round)

    def _timed(self, index: int, turn: Turn, deadline: float) -> RoundResult:
        """One timed round of the place's own cell. Raises `CellFailed` when outputs changed after "done"."""
        place, seed = self._places[index], self._secret.seed("call", self._round)
        plan, waking_seed = self._plan(place, turn), None if self._wakes_early else self._waking_seed
        with place.patience.waiting(len(turn.order), deadline) as limit:
            result = run_timed(
                place, plan, seed, place.cell, self._surroundings, deadline=limit, waking_seed=waking_seed
            )
        place.patience.saw(len(turn.order), result.wall_s)
        _require_unchanged(place, result)
        return result

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

    def _account(self, index: int) -> Account:
        wirings = [place.wiring for place in self._places]
        subtracts_copy = index > 0 and wirings[index].returns and not wirings[0].returns
        noise_s = _GRAPH_NOISE_S if self._replay else _STREAM_NOISE_S
        returns = wirings[index].returns
        return Account(
            self._series[index],
            kept(self._series),
            returns,
            subtracts_copy,
            noise_s,
            in_pairs=self._rules.in_pairs,
            is_cold=not self._replay,
            is_suspect=index == 0,
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
        return self._account_beside(index).timing(
            mode="graph" if self._replay else "stream",
            stop=stop,
            target_rse=self._rules.target_rse,
            footprint_bytes=self._places[index].attached.layout.footprint_bytes,
        )


def _as_round(result: RoundResult) -> Round:
    return Round(len(result.plan.order), result.wall_s, result.inside_s, result.reading)


def _require_unchanged(place: SidePlace, result: RoundResult) -> None:
    """Raises `CellFailed` when outputs changed after "done"."""
    if changed := result.late_writes(place.attached):
        message = f"{changed} sampled bytes of the output changed after the kernel had said it was done"
        raise CellFailed(
            Verdict.INTEGRITY_VIOLATION, Failure(phase=Phase.MEASURE, side=place.cell.side, message=message)
        )


def fill(place: SidePlace, slots: list[int], values: Sequence[torch.Tensor] | Mapping[int, torch.Tensor]) -> None:
    """Write logical inputs by their number, [slots, *shape] each, into the image of these slots."""
    for logical, placed in place.wiring.inputs(place.attached.layout):
        place.attached.place(slots, placed, values[logical])


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{value * 100:.2g} %"
