"""The timing protocol: random rounds of the candidate (and the reference between them), the null candidate before and
after.

Theory of operation: see the measurement explanation in docs/. One round: fresh secret content in every slot, the cell
frozen; the clock starts; a last secret part is written; the cell thaws and calls its kernel once per slot; "done"
arrives; random words of every output are read; the clock stops; everything is compared. The figure of a round is
(T(n) - c0(n)) / n, where c0 is what the same round costs with no kernel in it.

Copying a returned answer into its slot happens in the cell, where the kernel could do without it (write into the
slot, return that) and still have it subtracted. So it is not: it stays in the figure, and `copy_ms` says what it
costs. Only the copy of a reference that returns, beside a candidate that writes its outputs itself, is subtracted:
that can only hurt the candidate.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from daemon.errors import HarnessError
from daemon.evaluation import Failure, Timing
from daemon.executor import stats
from daemon.executor.cells import Cell, CellFailed
from daemon.executor.drawing import Drawer
from daemon.executor.inputs import Secret
from daemon.executor.layout import Field
from daemon.executor.side import (
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
from daemon.verdict import Comparison, Phase, Verdict

_TARGET_ROUND_S = 0.05
_NULL_ROUNDS = 3
_NULL_LIMIT_S = 60.0
_SIZING_CALLS = 16
_LEAST_SHARE = 0.05  # of a sizing round that its calls take at least, whatever the null candidate says
_ISOLATED_ROUNDS = 5
_BATCHED = 2.0
_CALL_NOISE_S = 2e-4  # a call alone is slower than one of many for honest reasons: caches, clocks
_APART = 0.005
_CLOCK_TICK_S = 1e-9
_MIN_ROUNDS_IN_A_HURRY = 5


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


@dataclass
class Series:
    """What was measured of one side: (calls, wall seconds) of its rounds, of the null candidate's bare loop and its
    copying loop on the same arena; wall seconds of rounds of one call."""

    rounds: list[tuple[int, float]] = field(default_factory=list)
    isolated_s: list[float] = field(default_factory=list)
    null: dict[NullKernel, list[tuple[int, float]]] = field(default_factory=lambda: {kind: [] for kind in NullKernel})


@dataclass(frozen=True)
class NullCost:
    """What a round costs without a kernel: intercept and slope (seconds), and how far null rounds scatter around the
    line."""

    base_s: float
    per_call_s: float
    scatter_s: float

    def of(self, calls: int) -> float:
        return self.base_s + self.per_call_s * calls


Check = Callable[[int, list[int]], None]


class Measurement:
    """Times the places of one case. `check(round, slots)` compares all outputs of the round; it raises what it
    finds."""

    def __init__(
        self, places: list[SidePlace], null: Cell, drawer: Drawer, secret: Secret, rules: MeasureRules, check: Check
    ) -> None:
        self._places = places
        self._null = null
        self._drawer = drawer
        self._secret = secret
        self._rules = rules
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
        start = time.monotonic()
        few = min(_SIZING_CALLS, self._choose_slots(estimate_s / _SIZING_CALLS, deadline))
        needed_s = self._warm_up(few, deadline)
        if self._rules.graph:
            self._replay = self._can_replay(few, deadline)
            needed_s = self._warm_up(few, deadline) if self._replay else needed_s
        slots = self._choose_slots(needed_s, deadline)
        if slots != few:
            self._warm_up(slots, deadline)
        self._calibrate(NullKernel.LOOP, slots)
        self._calibrate(NullKernel.COPY, slots)
        stop = self._rounds(slots, start, deadline, progress)
        self._isolated(slots, deadline)
        self._calibrate(NullKernel.LOOP, slots)
        return [self._timing(index, slots, stop) for index in range(len(self._places))]

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

    def _fill(self, slots: list[int], purpose: str, deadline: float) -> None:
        """Fresh guards, poison and inputs for every place, the same inputs on all of them."""
        for place in self._places:
            place.attached.compose(self._content, slots)
        values = self._drawer.draw(purpose, self._round, slots, deadline=deadline)
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

    def _null_rounds(self, place: SidePlace, kind: NullKernel, slots: int, sizes: list[int]) -> list[float]:
        """Wall seconds of rounds of these sizes without a kernel, after one that touches every page of the null's own
        map."""
        deadline = time.monotonic() + _NULL_LIMIT_S
        try:
            attach(self._null, place.wiring, place.attached, phase=Phase.MEASURE, deadline=deadline, null=kind)
            walls = []
            for calls in [slots, *sizes]:
                plan = self._plan(place, self._order(slots, calls))
                walls.append(run_timed(place, plan, 0, self._null, deadline=deadline).wall_s)
            detach(self._null, phase=Phase.MEASURE, deadline=deadline)
        except CellFailed as failed:
            raise HarnessError(f"the null candidate failed: {failed}") from failed
        return walls[1:]

    def _plan(self, place: SidePlace, order: list[int]) -> RoundPlan:
        secret_fields = self._secret_fields(place)
        return plan_round(place.attached, secret_fields, order, self._random, replay=self._replay)

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
            self._round += 1
            began = time.monotonic()
            self._one_round(slots, deadline)
            longest_s = max(longest_s, time.monotonic() - began)
            done = len(self._series[0].rounds)
            worst = self._worst_rse()
            progress(f"timing {_percent(worst)} of {_percent(rules.target_rse)}")
            calls = sum(count for count, _ in self._series[0].rounds)
            if (
                done >= rules.min_rounds
                and calls >= rules.min_calls
                and worst is not None
                and worst <= rules.target_rse
            ):
                return "precision"
            if time.monotonic() - start >= rules.max_s and done >= _MIN_ROUNDS_IN_A_HURRY:
                return "time"
            if time.monotonic() + 2 * longest_s + 1.0 > deadline:
                return "time"

    def _one_round(self, slots: int, deadline: float) -> None:
        calls = int(torch.randint((slots + 1) // 2, slots + 1, (1,), generator=self._random))
        order = self._order(slots, calls)
        self._fill(order, "round", deadline)
        sequence = list(range(len(self._places)))
        if self._round % 4 in (2, 3):  # A B B A
            sequence.reverse()
        results = [(self._places[index], self._timed(index, order, deadline)) for index in sequence]
        for index, (_, result) in zip(sequence, results, strict=True):
            self._series[index].rounds.append((calls, result.wall_s))
        self._check(self._round, order)
        for place, result in results:
            _require_unchanged(place, result)

    def _timed(self, index: int, order: list[int], deadline: float) -> RoundResult:
        """One timed round of the place's own cell. Raises `CellFailed` when outputs changed after "done"."""
        place, seed = self._places[index], self._secret.seed("call", self._round)
        result = run_timed(place, self._plan(place, order), seed, place.cell, deadline=deadline)
        _require_unchanged(place, result)
        return result

    def _isolated(self, slots: int, deadline: float) -> None:
        """Rounds of one call: what a call costs that cannot share work with its neighbours."""
        for _ in range(_ISOLATED_ROUNDS):
            if time.monotonic() + 1.0 > deadline:
                return
            self._round += 1
            order = self._order(slots, 1)
            self._fill(order, "isolated", deadline)
            results = [self._timed(index, order, deadline) for index in range(len(self._places))]
            for series, result in zip(self._series, results, strict=True):
                series.isolated_s.append(result.wall_s)
            self._check(self._round, order)
            for place, result in zip(self._places, results, strict=True):
                _require_unchanged(place, result)

    def _null_cost(self, index: int, kind: NullKernel) -> NullCost:
        """A line through the medians of the null rounds of each size."""
        rounds = self._series[index].null[kind]
        by_calls: dict[int, list[float]] = {}
        for calls, wall_s in rounds:
            by_calls.setdefault(calls, []).append(wall_s)
        points = [(float(calls), statistics.median(walls)) for calls, walls in by_calls.items()]
        base_s, per_call_s = stats.fit_line(points)
        scatter = statistics.median(abs(wall_s - base_s - per_call_s * calls) for calls, wall_s in rounds)
        return NullCost(base_s, max(per_call_s, 0.0), scatter)

    def _copy_s(self, index: int) -> float | None:
        """What copying a returned answer adds to a call; None for a side that returns nothing."""
        if not self._series[index].null[NullKernel.COPY]:
            return None
        copying, bare = (self._null_cost(index, kind) for kind in (NullKernel.COPY, NullKernel.LOOP))
        return max(copying.per_call_s - bare.per_call_s, 0.0)

    def _subtracts_copy(self, index: int) -> bool:
        return index > 0 and self._places[index].wiring.returns and not self._places[0].wiring.returns

    def _samples_s(self, index: int) -> list[float]:
        null = self._null_cost(index, NullKernel.LOOP)
        copy_s = (self._copy_s(index) or 0.0) if self._subtracts_copy(index) else 0.0
        return [(wall_s - null.of(calls)) / calls - copy_s for calls, wall_s in self._series[index].rounds]

    def _worst_rse(self) -> float | None:
        found = [stats.relative_standard_error(self._samples_s(index)) for index in range(len(self._places))]
        known = [value for value in found if value is not None]
        return max(known) if len(known) == len(found) else None

    def _timing(self, index: int, slots: int, stop: str) -> Timing:
        null = self._null_cost(index, NullKernel.LOOP)
        raw_s = self._samples_s(index)
        rounds = self._series[index].rounds
        # What lies below the resolution is reported as the resolution: an upper bound, never a zero to rank first with.
        samples_ms = [max(value, self._resolution_s(index)) * 1e3 for value in raw_s]
        copy_s, isolated_s = self._copy_s(index), self._isolated_s(index)
        return Timing(
            stats=stats.runtime_stats(samples_ms),
            mode="graph" if self._replay else "stream",
            samples_ms=tuple(samples_ms),
            calls=tuple(calls for calls, _ in rounds),
            c0_us=null.of(1) * 1e6,
            c0_slope_us=null.per_call_s * 1e6,
            rse=stats.relative_standard_error(samples_ms),
            target_rse=self._rules.target_rse,
            stop=stop,
            isolated_ms=None if isolated_s is None else isolated_s * 1e3,
            copy_ms=None if copy_s is None else copy_s * 1e3,
            line_fit_residual=_line_residual(rounds, null) if slots > 1 else None,
            footprint_bytes=self._places[index].attached.layout.footprint_bytes,
            labels=tuple(self._labels(index, raw_s)),
        )

    def _resolution_s(self, index: int) -> float:
        """The shortest call that can be told from none: the null rounds' scatter over the calls of a round."""
        scatter_s = self._null_cost(index, NullKernel.LOOP).scatter_s
        return max(scatter_s / max(calls for calls, _ in self._series[index].rounds), _CLOCK_TICK_S)

    def _isolated_s(self, index: int) -> float | None:
        walls = self._series[index].isolated_s
        alone = [wall_s for calls, wall_s in self._series[index].null[NullKernel.LOOP] if calls == 1]
        return max(statistics.median(walls) - statistics.median(alone), 0.0) if walls and alone else None

    def _labels(self, index: int, raw_s: list[float]) -> list[str]:
        series, null = self._series[index], self._null_cost(index, NullKernel.LOOP)
        labels = []
        if statistics.median(raw_s) <= self._resolution_s(index):
            labels.append("below_resolution")
        if len(raw_s) < _MIN_ROUNDS_IN_A_HURRY:
            labels.append("few_rounds")
        if self._places[index].wiring.returns:
            labels.append("copy_subtracted" if self._subtracts_copy(index) else "copy_included")
        if series.isolated_s:
            least_alone_s = min(series.isolated_s) - null.of(1) - 5 * null.scatter_s
            if least_alone_s > _BATCHED * max(statistics.median(raw_s), 0.0) + _CALL_NOISE_S:
                labels.append("batched")
        return labels


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


def _line_residual(rounds: list[tuple[int, float]], null: NullCost) -> float:
    """How far rounds lie from one line through the null candidate's intercept: relative, root mean square."""
    slope = sum(calls * (wall_s - null.base_s) for calls, wall_s in rounds) / sum(calls**2 for calls, _ in rounds)
    residuals = [(wall_s - null.base_s - slope * calls) / wall_s for calls, wall_s in rounds]
    return float(statistics.fmean(value**2 for value in residuals) ** 0.5)


def _percent(value: float | None) -> str:
    return "?" if value is None else f"{value * 100:.2g} %"


def compare_speed(candidate: Timing, reference: Timing) -> Comparison:
    """Faster or slower only when the intervals [min, q3] are apart by half a percent; the same when they overlap and
    are tight."""
    ours, theirs = _interval(candidate), _interval(reference)
    if ours[1] < theirs[0] * (1 - _APART):
        return Comparison.FASTER
    if theirs[1] < ours[0] * (1 - _APART):
        return Comparison.SLOWER
    tight = all(timing.rse is not None and timing.rse <= 2 * timing.target_rse for timing in (candidate, reference))
    return Comparison.SAME if tight else Comparison.CANNOT_TELL


def _interval(timing: Timing) -> tuple[float, float]:
    return timing.stats.min, stats.percentile(sorted(timing.samples_ms), 0.75)
