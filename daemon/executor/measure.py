"""The timing protocol: random rounds of the candidate (and the reference between them), the null candidate before and
after.

Theory of operation: see the measurement explanation in docs/. One round: fresh secret content in every slot, the cell
frozen, the GPU idle and its caches cold; the clock starts; a last secret part is written; the cell thaws and calls its
kernel once per slot; "done" arrives; random words of every output are read; the clock stops; everything is compared.
What the walls of all rounds come to is `timings`.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from daemon.errors import HarnessError
from daemon.evaluation import Failure, Timing
from daemon.executor.cells import Cell, CellFailed
from daemon.executor.conditions import Conditions, LeftRunning, Surroundings
from daemon.executor.drawing import Drawer
from daemon.executor.inputs import Secret
from daemon.executor.layout import Field
from daemon.executor.patience import own_deadline
from daemon.executor.side import (
    NotCaptured,
    NullKernel,
    RoundPlan,
    RoundResult,
    SidePlace,
    attach,
    capture,
    detach,
    plan_round,
    run_timed,
    run_untimed,
)
from daemon.executor.stages import Stages
from daemon.executor.timings import FEWEST_ROUNDS, Account, Round, Series, kept
from daemon.verdict import Phase, Verdict

_TARGET_ROUND_S = 0.05
_NULL_ROUNDS = 3
_NULLS_BESIDE = 2
_NULL_LIMIT_S = 60.0
_SIZING_CALLS = 16
_LEAST_SHARE = 0.05  # of a sizing round that its calls take at least, whatever the null candidate says
_ISOLATED_ROUNDS = 5
_SUSPICIOUSLY_MANY = 8
_GRAPH_NOISE_S, _STREAM_NOISE_S = 2e-6, 2e-5
_EXTRA_ROUNDS = 3  # of equal contents; of calls one by one
_CALLS_ONE_BY_ONE = 256
_TIME_LEFT_S = 1.0


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


Check = Callable[[int, list[int]], None]


class Measurement:
    """Times the places of one case. `check(round, slots)` compares all outputs of the round; it raises what it
    finds."""

    def __init__(
        self,
        places: list[SidePlace],
        null: Cell,
        drawer: Drawer,
        secret: Secret,
        rules: MeasureRules,
        conditions: Conditions,
        check: Check,
        stages: Stages,
    ) -> None:
        self._stages = stages
        self._places = places
        self._null = null
        self._drawer = drawer
        self._secret = secret
        self._rules = rules
        self._surroundings = Surroundings(conditions, [place.cell for place in places])
        self._check = check
        self._series = [Series() for _ in places]
        self._random = secret.host_generator("rounds")
        self._content = secret.generator("content")
        self._round = 0
        self._replay = False
        self.not_captured: str | None = None

    def run(self, estimate_s: float, deadline: float, progress: Callable[[str], None]) -> list[Timing]:
        """Rounds until precise enough or out of time; one `Timing` per place, in order.

        Raises `CellFailed` for what a kernel did, `HarnessError` when the null candidate failed.
        """
        try:
            return self._run(estimate_s, deadline, progress, as_graph=self._rules.graph)
        except NotCaptured as reason:
            self.not_captured, self._replay = str(reason), False
        self._series = [Series() for _ in self._places]
        return self._run(estimate_s, deadline, progress, as_graph=False)

    def _run(
        self, estimate_s: float, deadline: float, progress: Callable[[str], None], *, as_graph: bool
    ) -> list[Timing]:
        start, stage = time.monotonic(), self._stages.stage
        with stage("size"):
            slots = self._sized(estimate_s, deadline, as_graph=as_graph)
        with stage("calibrate"):
            self._calibrate(NullKernel.LOOP, slots)
            self._calibrate(NullKernel.COPY, slots)
        with stage("rounds"):
            stop = self._rounds(slots, start, deadline, progress)
        with stage("alone"):
            own = own_deadline(deadline, max(one.wall_s for series in self._series for one in series.rounds))
            self._isolated(slots, own)
            self._equal_contents(slots, own)
            self._one_by_one(slots, own)
        with stage("calibrate"):
            self._calibrate(NullKernel.LOOP, slots)
        return [self._timing(index, stop) for index in range(len(self._places))]

    def _sized(self, estimate_s: float, deadline: float, *, as_graph: bool) -> int:
        """Calls per round, with every slot and kernel warm for as many; and whether rounds are launches of graphs."""
        few = min(_SIZING_CALLS, self._choose_slots(estimate_s / _SIZING_CALLS, deadline))
        needed_s = self._warm_up(few, deadline)
        if as_graph:
            self._replay = self._can_replay(few, deadline)
            needed_s = self._warm_up(few, deadline) if self._replay else needed_s
        slots = self._choose_slots(needed_s, deadline)
        if slots != few:
            self._warm_up(slots, deadline)
        return slots

    def _choose_slots(self, estimate_s: float, deadline: float) -> int:
        """Calls per round: long enough to dwarf the overhead, small enough for memory and for drawing fresh content
        in time."""
        rules = self._rules
        stride = max(place.wiring.stride() for place in self._places)
        by_time = max(1, round(_TARGET_ROUND_S / max(estimate_s, 1e-9)))
        by_memory = max(1, rules.arena_bytes // stride)
        budget_s = min(rules.max_s, max(deadline - time.monotonic(), 0.0) / 3)
        by_drawing = max(1, int(budget_s / (rules.min_rounds * max(self._drawer.cost_s, 1e-7))))
        return min(by_time, by_memory, by_drawing, rules.max_calls)

    def _fill(self, slots: list[int], purpose: str, deadline: float, *, equal: bool = False) -> None:
        """Fresh guards, poison and inputs for every place, the same inputs on all of them; `equal`: the same in every
        slot."""
        for place in self._places:
            place.attached.compose(self._content, slots)
        values = self._drawer.draw(purpose, self._round, slots[:1] if equal else slots, deadline=deadline)
        if equal:
            values = [value.expand(len(slots), *value.shape[1:]) for value in values]
        for place in self._places:
            fill(place, slots, values)

    def _order(self, slots: int, calls: int) -> list[int]:
        return [int(slot) for slot in torch.randperm(slots, generator=self._random)[:calls]]

    def _warm_up(self, slots: int, deadline: float) -> float:
        """Every page of every slot touched once, and the kernel warm, on content nothing depends on.

        Returns the seconds one call of the slowest place takes in a second pass, about: how large rounds have to be.
        """
        order = list(range(slots))
        for place in self._places:
            place.attach(slots, phase=Phase.MEASURE, deadline=deadline)
        self._fill(order, "warm", deadline)
        slowest_s = 0.0
        for place in self._places:
            for _ in range(2):
                seed = self._secret.seed("warm")
                wall_s = run_untimed(place, order, seed, phase=Phase.MEASURE, deadline=deadline, replay=self._replay)
            slowest_s = max(slowest_s, wall_s)
        overhead_s = min(self._null_rounds(self._places[0], NullKernel.LOOP, slots, [slots] * 2))
        return max(slowest_s - overhead_s, _LEAST_SHARE * slowest_s) / slots

    def _can_replay(self, slots: int, deadline: float) -> bool:
        """Whether every kernel can be captured as a CUDA graph whose launch gives right answers.

        Work that a kernel puts on a stream of its own choosing (the default one, say) is not captured, and its slots
        keep the poison: only the answers tell.
        """
        order, seed = list(range(slots)), self._secret.seed("capture")
        for place in self._places:
            self.not_captured = capture(place.cell, order, seed, phase=Phase.MEASURE, deadline=deadline)
            if self.not_captured is not None:
                return False
        self._fill(order, "capture", deadline)
        for place in self._places:
            run_untimed(place, order, seed, phase=Phase.MEASURE, deadline=deadline, replay=True)
        try:
            self._check(0, order)
        except CellFailed as failed:
            self.not_captured = f"a launch of the captured graph does not do what the calls do: {failed}"
        return self.not_captured is None

    def _calibrate(self, kind: NullKernel, slots: int) -> None:
        """Null rounds at one call, at half and at all of them, on each place's own arena."""
        sizes = sorted({1, max(1, slots // 2), slots}) * _NULL_ROUNDS
        for place, series in zip(self._places, self._series, strict=True):
            if kind is NullKernel.LOOP or place.wiring.returns:
                series.null[kind] += zip(sizes, self._null_rounds(place, kind, slots, sizes), strict=True)

    def _null_beside(self, slots: int, calls: int) -> None:
        """Null rounds in between: what a round costs drifts like what it is subtracted from. On a CPU those before and
        after must do: a round there is long against what it costs."""
        if self._replay:
            for place, series in zip(self._places, self._series, strict=True):
                walls = self._null_rounds(place, NullKernel.LOOP, slots, [calls] * _NULLS_BESIDE)
                series.null[NullKernel.LOOP] += [(calls, wall_s) for wall_s in walls]

    def _null_rounds(
        self, place: SidePlace, kind: NullKernel, slots: int, sizes: list[int], *, replay: bool | None = None
    ) -> list[float]:
        """Wall seconds of rounds of these sizes without a kernel, after one that touches every page of the null's own
        map."""
        deadline = time.monotonic() + _NULL_LIMIT_S
        try:
            attach(self._null, place.wiring, place.attached, phase=Phase.MEASURE, deadline=deadline, null=kind)
            walls = []
            for calls in [slots, *sizes]:
                plan = self._plan(place, self._order(slots, calls), replay=replay)
                walls.append(run_timed(place, plan, 0, self._null, self._surroundings, deadline=deadline).wall_s)
            detach(self._null, phase=Phase.MEASURE, deadline=deadline)
        except LeftRunning:
            with suppress(CellFailed):  # the null candidate lives on, and the memory goes with the case
                detach(self._null, phase=Phase.MEASURE, deadline=deadline)
            raise
        except (CellFailed, NotCaptured) as failed:
            raise HarnessError(f"the null candidate failed: {failed}") from failed
        return walls[1:]

    def _plan(self, place: SidePlace, order: list[int], *, replay: bool | None = None) -> RoundPlan:
        """`replay` as the whole measurement has it, unless said otherwise."""
        secret_fields, as_graph = self._secret_fields(place), self._replay if replay is None else replay
        return plan_round(place.attached, secret_fields, order, self._random, replay=as_graph)

    def _secret_fields(self, place: SidePlace) -> list[Field]:
        return [
            placed
            for wired, placed in zip(place.wiring.fields, place.attached.layout.fields, strict=True)
            if wired.logical is not None and self._drawer.is_secret(wired.logical)
        ]

    def _rounds(self, slots: int, start: float, deadline: float, progress: Callable[[str], None]) -> str:
        rules = self._rules
        longest_s = 0.0
        while True:
            began = time.monotonic()
            calls = int(torch.randint((slots + 1) // 2, slots + 1, (1,), generator=self._random))
            for series, one in zip(self._series, self._one_round(slots, calls, "round", deadline), strict=True):
                series.rounds.append(one)
            self._null_beside(slots, calls)
            longest_s = max(longest_s, time.monotonic() - began)
            worst = self._worst_rse()
            progress(f"timing {_percent(worst)} of {_percent(rules.target_rse)}")
            counted = self._account(0).counted
            enough = len(counted) >= rules.min_rounds and sum(one.calls for one in counted) >= rules.min_calls
            if enough and worst is not None and worst <= rules.target_rse:
                return "precision"
            if time.monotonic() - start >= rules.max_s and len(self._series[0].rounds) >= FEWEST_ROUNDS:
                return "time"
            if time.monotonic() + 2 * longest_s + _TIME_LEFT_S > deadline:
                return "time"

    def _one_round(
        self,
        slots: int,
        calls: int,
        purpose: str,
        deadline: float,
        *,
        equal: bool = False,
        replay: bool | None = None,
    ) -> list[Round]:
        """One timed round of every place, all on the same contents, all answers compared."""
        self._round += 1
        order = self._order(slots, calls)
        self._fill(order, purpose, deadline, equal=equal)
        sequence = list(range(len(self._places)))
        if self._round % 4 in (2, 3):  # A B B A
            sequence.reverse()
        results = {index: self._timed(index, order, deadline, replay=replay) for index in sequence}
        self._check(self._round, order)
        for index in sequence:
            _require_unchanged(self._places[index], results[index])
        return [_as_round(results[index]) for index in range(len(self._places))]

    def _timed(self, index: int, order: list[int], deadline: float, *, replay: bool | None = None) -> RoundResult:
        """One timed round of the place's own cell. Raises `CellFailed` when outputs changed after "done"."""
        place, seed = self._places[index], self._secret.seed("call", self._round)
        plan = self._plan(place, order, replay=replay)
        with place.patience.waiting(len(order), deadline) as limit:
            result = run_timed(place, plan, seed, place.cell, self._surroundings, deadline=limit)
        place.patience.saw(len(order), result.wall_s)
        _require_unchanged(place, result)
        return result

    def _isolated(self, slots: int, deadline: float) -> None:
        """Rounds of one call: what a call costs that cannot share work with its neighbours. Null rounds before and
        after: every attachment of the null candidate costs a whole round of its own."""
        wanted = _ISOLATED_ROUNDS * (_SUSPICIOUSLY_MANY if self._looks_batched() else 1)
        self._alone_nulls(slots, wanted)
        for _ in _while_time(wanted, deadline):
            for series, one in zip(self._series, self._one_round(slots, 1, "isolated", deadline), strict=True):
                series.alone.append(one)
        self._alone_nulls(slots, wanted)
        if self._replay and slots >= _SIZING_CALLS:
            for place, series in zip(self._places, self._series, strict=True):
                if any(field.tensor.count for field in place.answer_fields()):  # nothing to write takes no kernel
                    walls = self._null_rounds(place, NullKernel.TOUCH, slots, [slots] * _EXTRA_ROUNDS)
                    series.touch += [(slots, wall_s) for wall_s in walls]

    def _alone_nulls(self, slots: int, wanted: int) -> None:
        sizes = [1] * -(-wanted // 2)
        for place, series in zip(self._places, self._series, strict=True):
            series.alone_null += self._null_rounds(place, NullKernel.LOOP, slots, sizes)

    def _looks_batched(self) -> bool:
        """Whether the candidate is so much faster than the reference that it is worth a closer look how."""
        usual_s = [statistics.median(self._account(index).samples_s) for index in range(len(self._places))]
        return len(usual_s) > 1 and usual_s[0] < usual_s[1] / 2

    def _equal_contents(self, slots: int, deadline: float) -> None:
        """Rounds with one content in every slot: what remembers contents is faster there."""
        if slots == 1 or not any(self._drawer.is_secret(index) for index in range(len(self._drawer.logicals))):
            return
        for _ in _while_time(_EXTRA_ROUNDS, deadline):
            rounds = self._one_round(slots, slots, "equal", deadline, equal=True)
            for series, one in zip(self._series, rounds, strict=True):
                series.equal.append(one)

    def _one_by_one(self, slots: int, deadline: float) -> None:
        """What a call costs that is launched from its own language, where the figure is that of a graph's launch."""
        if not self._replay:
            return
        calls = min(slots, _CALLS_ONE_BY_ONE)
        for _ in _while_time(_EXTRA_ROUNDS, deadline):
            rounds = self._one_round(slots, calls, "called", deadline, replay=False)
            for series, one in zip(self._series, rounds, strict=True):
                series.called.append(one)
        for place, series in zip(self._places, self._series, strict=True):
            walls = self._null_rounds(place, NullKernel.LOOP, slots, [calls] * _EXTRA_ROUNDS, replay=False)
            series.called_null += [(calls, wall_s) for wall_s in walls]

    def _account(self, index: int) -> Account:
        wirings = [place.wiring for place in self._places]
        subtracts_copy = index > 0 and wirings[index].returns and not wirings[0].returns
        noise_s = _GRAPH_NOISE_S if self._replay else _STREAM_NOISE_S
        return Account(self._series[index], kept(self._series), wirings[index].returns, subtracts_copy, noise_s)

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


def _while_time(count: int, deadline: float) -> Iterator[int]:
    """Up to `count` rounds, as long as there is time for them; the first in any case."""
    for number in range(count):
        if number and time.monotonic() + _TIME_LEFT_S > deadline:
            return
        yield number


def _as_round(result: RoundResult) -> Round:
    return Round(len(result.plan.order), result.wall_s, result.inside_s, result.reading)


def _require_unchanged(place: SidePlace, result: RoundResult) -> None:
    """Raises `CellFailed` when outputs changed after "done"."""
    if changed := result.late_writes(place.attached):
        message = f"{changed} sampled output words changed after the kernel had said it was done"
        raise CellFailed(
            Verdict.INTEGRITY_VIOLATION, Failure(phase=Phase.MEASURE, side=place.cell.side, message=message)
        )


def fill(place: SidePlace, slots: list[int], values: list[torch.Tensor]) -> None:
    """Write logical inputs, [slots, *shape] each, into the image of these slots."""
    for wired, placed in zip(place.wiring.fields, place.attached.layout.fields, strict=True):
        if wired.logical is not None:
            place.attached.place(slots, placed, values[wired.logical])


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{value * 100:.2g} %"
