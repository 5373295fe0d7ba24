"""The whole protocol of rounds that are launches of graphs, where there is no GPU: cells and clocks are made up, and
what comes out must be what was put in. What a real GPU does is for tests/gpu."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from daemon.evaluation import Timing
from daemon.executor.cells.patience import Patience
from daemon.executor.content.inputs import Secret
from daemon.executor.content.wiring import SideField, Wiring
from daemon.executor.shared.layout import TensorShape
from daemon.executor.timing import measure, nulls, rounds, side, side_round, sizing
from daemon.executor.timing.comparison import compare_speed
from daemon.executor.timing.conditions import UNKNOWN, HostConditions, Surroundings
from daemon.executor.timing.measure import Measurement
from daemon.executor.timing.round_turns import Turn
from daemon.executor.timing.side import SidePlace
from daemon.executor.timing.side_round import (
    NullKernel,
    NullWork,
    RoundPlan,
    RoundResult,
)
from daemon.executor.timing.sizing import MeasureRules
from daemon.executor.timing.stages import Stages
from daemon.verdict import Comparison, Phase

BASE_S = 5e-4
PER_WORK = 0.04  # a round costs the more the longer it works: the null must work as long
CLOCK_HZ = 1.98e9
CLEARING_S, COPY_S, TOUCH_S, LAUNCHED_S = 2e-7, 4e-7, 1e-6, 3e-5
SHAPE = TensorShape("float32", (64,))


@dataclass
class Kernel:
    """What a call of a cell's kernel takes: in rounds that count, and before."""

    call_s: float
    before_s: float | None = None
    alone_s: float | None = None  # a call with no others beside it
    refuses: int | None = None  # the number of the graph that cannot be captured
    capturing_s: float = 0.0  # a graph, as the wall clock has it
    ahead_s: float = 0.0  # of something else, whenever it is woken up
    held_bytes: int = 0  # by its cell
    captured: list[int] = field(default_factory=list)
    one_by_one: list[int] = field(default_factory=list)


def holding(kernel: Kernel) -> Any:
    return SimpleNamespace(memory_bytes=lambda: kernel.held_bytes)


class World:
    """Cells of made-up kernels, and a made-up clock for the null candidate's and theirs."""

    def __init__(self, *kernels: Kernel, returns: bool = False) -> None:
        wiring = Wiring(
            fields=(SideField("x", SHAPE, logical=0, is_output=False), SideField("y", SHAPE, None, is_output=True)),
            args={"u": [{"t": 0}, {"t": 1}]},
            answer=(1,),
            names=("y",),
            returns=returns,
        )
        self.kernels = {f"cell {number}": kernel for number, kernel in enumerate(kernels)}
        cells: list[Any] = [SimpleNamespace(name=name, program=holding(one)) for name, one in self.kernels.items()]
        self.places = [SidePlace(cell, wiring, "cpu", Patience(60.0)) for cell in cells]
        self.null: Any = SimpleNamespace(name="null", program=holding(Kernel(0.0)))
        self.nulls: list[tuple[NullWork, int]] = []
        self.offered: list[tuple[int, int]] = []
        self.rounds: list[tuple[bool, int]] = []  # whether it was the null candidate's, of how many calls
        self.graphs: dict[tuple[str, int], tuple[NullWork | None, int]] = {}  # what each launches, how many calls
        self.mapped: set[int] = set()
        self.story: list[str] = []  # of graphs before they are timed, of contents and of rounds
        self.seeds: list[int] = []  # that cells have been woken with

    def attach(self, cell: Any, *_: Any, number: int = 0, **__: Any) -> None:
        if cell is self.null:
            self.mapped.add(number)

    def detach(self, *_: Any, **__: Any) -> None:
        self.mapped.clear()
        self.graphs = {key: value for key, value in self.graphs.items() if key[0] != "null"}

    def capture(
        self, cell: Any, order: list[int], _seed: int, *, graph: int = 0, null: NullWork | None = None, **_: Any
    ) -> str | None:
        if null is not None:
            self.graphs["null", null.graph] = null, len(order)
            return None
        if self.kernels[cell.name].refuses == graph:
            return "it does not want to"
        time.sleep(self.kernels[cell.name].capturing_s)
        self.kernels[cell.name].captured.append(len(order))
        self.story.append("captured")
        self.graphs[cell.name, graph] = None, len(order)
        return None

    def run_untimed(self, place: SidePlace, order: list[int], *_: Any, replay: bool = False, **__: Any) -> float:
        if replay:
            self.story.append("tried")
        kernel = self.kernels[place.cell.name]  # type: ignore[attr-defined]
        return BASE_S + len(order) * (kernel.before_s or kernel.call_s)

    def wake_up_null(self, *_: Any) -> None:
        """The null candidate."""

    def wake_up(self, cell: Any, turn: Turn, seed: int, *_: Any) -> float:
        self.seeds.append(seed)
        self.story.append("woken")
        if turn.is_new:
            side_round.require_captured(self.capture(cell, list(turn.order), 0, graph=turn.graph))
        kernel = self.kernels[cell.name]
        return BASE_S + turn.waking_calls * kernel.call_s + kernel.ahead_s

    def run_timed(
        self,
        place: SidePlace,
        plan: RoundPlan,
        seed: int,
        cell: Any,
        *_: Any,
        waking_seed: int | None = None,
        null: NullWork | None = None,
        **__: Any,
    ) -> RoundResult:
        calls = len(plan.turn.order)
        self.rounds.append((null is not None, calls))
        woken_s = None
        if null is None:
            if waking_seed is not None:
                woken_s = self.wake_up(cell, plan.turn, waking_seed)
            assert seed not in self.seeds, "nobody knows it before the clock runs"
            self.story.append("timed")
            if plan.turn.replay:
                assert self.graphs[cell.name, plan.turn.graph] == (None, calls)
                assert plan.turn.waking_graph is None or self.graphs[cell.name, plan.turn.waking_graph] == (None, 1)
            else:
                self.kernels[cell.name].one_by_one.append(calls)
            kernel = self.kernels[cell.name]
            call_s = kernel.alone_s if calls == 1 and kernel.alone_s else kernel.call_s
            own_s = calls * (call_s + (0.0 if plan.turn.replay else LAUNCHED_S))
        else:
            assert null.arena in self.mapped
            if plan.turn.replay:
                assert self.graphs["null", null.graph] == (null, calls)
                if plan.turn.waking_graph is not None:
                    waking, waking_calls = self.graphs["null", plan.turn.waking_graph]
                    assert waking is not None
                    assert (waking.kind, waking.arena, waking_calls) == (null.kind, null.arena, 1)
            own_s = self._null_s(null, calls)
            self.nulls.append((null, calls))
        wall_s = BASE_S + (1 + PER_WORK) * own_s
        probe = place.attached.shared.samples(plan.probe)
        probe.fetch()
        return RoundResult(wall_s, plan, probe, probe.content.clone(), own_s, UNKNOWN, 0.0, woken_s)

    @staticmethod
    def _null_s(null: NullWork, calls: int) -> float:
        if null.kind is NullKernel.WORK:
            return calls * CLEARING_S + null.cycles / CLOCK_HZ
        return calls * {NullKernel.COPY: COPY_S, NullKernel.TOUCH: TOUCH_S, NullKernel.LOOP: 0.0}[null.kind]


class Drawer:
    """One secret input of zeros."""

    logicals = (None,)
    cost_s = 0.0

    def __init__(self, story: list[str], *, is_told: bool) -> None:
        self._story = story
        self.is_told = is_told

    def draw(self, _purpose: str, _number: int, slots: list[int], *, deadline: float) -> list[torch.Tensor]:
        self._story.append("drawn")
        return [torch.zeros(len(slots), *SHAPE.shape)]

    def is_secret(self, _index: int) -> bool:
        return True


def made_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The world in place of cells and clocks."""
    for module, names in (
        (rounds, ("wake_up", "run_timed", "run_untimed", "capture")),
        (nulls, ("run_timed", "capture", "attach", "detach")),
        (side, ("attach",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, getattr(world, name))
    monkeypatch.setattr(nulls, "wake_up", world.wake_up_null)


def measured(world: World, monkeypatch: pytest.MonkeyPatch, *, is_told: bool = False, **changes: Any) -> list[Timing]:
    made_up(world, monkeypatch)
    rules = {
        "max_s": 200.0, "target_rse": 0.005, "min_rounds": 7, "min_calls": 10, "max_calls": 256, "arena_bytes": 1 << 20
    }  # fmt: skip
    measurement = Measurement(
        world.places,
        world.null,
        Drawer(world.story, is_told=is_told),  # type: ignore[arg-type]
        Secret(),
        MeasureRules(**({"graph": True, "in_pairs": True} | rules | changes)),
        HostConditions(),
        lambda *_: None,
        lambda number, slots: world.offered.append((number, len(slots))),
        one_by_one=lambda: world.story.append("one by one"),
        stages=Stages(),
    )
    try:
        return measurement.run(1e-3, time.monotonic() + 600.0, lambda _: None)
    finally:
        for place in world.places:
            place.close()


def test_what_a_call_takes_comes_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Kernel(2e-5), Kernel(3e-5))
    ours, theirs = measured(world, monkeypatch)
    for timing, call_s in ((ours, 2e-5), (theirs, 3e-5)):
        assert timing.mode == "graph"
        assert timing.stop == "precision"
        assert timing.stats.mean == pytest.approx(call_s * 1e3, rel=0.02)
        assert timing.c0_us == pytest.approx(BASE_S * 1e6, rel=0.1)
        assert timing.launched_ms == pytest.approx((call_s + LAUNCHED_S) * 1e3, rel=0.1)
        assert set(timing.labels) <= {"launch_bound"}
    assert world.mapped == set(), "the null candidate has let go of everything"
    for kernel in world.kernels.values():
        assert kernel.one_by_one == [64]


@pytest.mark.parametrize("is_gpu", [False, True])
def test_what_a_kernel_may_have_made_ahead_is_outlasted_on_a_cpu(monkeypatch: pytest.MonkeyPatch, is_gpu: bool) -> None:
    """A tenth of a second is what 800 MB take to be filled: calls take two thirds of one together."""
    world = World(Kernel(2e-5, held_bytes=9 * 10**8), Kernel(3e-5, held_bytes=10**8))
    ours, theirs = measured(world, monkeypatch, graph=False, in_pairs=is_gpu)
    taken_s = sum(calls * sample for calls, sample in zip(ours.calls, ours.samples_ms, strict=True)) / 1e3
    assert (taken_s > 0.6) == (not is_gpu)
    assert len(world.offered) == len(ours.calls) == len(theirs.calls)
    assert "may_be_prepared" not in ours.labels + theirs.labels
    monkeypatch.setattr(measure, "_OUTLAST_AT_MOST_S", 0.0)
    world = World(Kernel(2e-5, held_bytes=9 * 10**8), Kernel(3e-5, held_bytes=10**8))
    ours, theirs = measured(world, monkeypatch, graph=False, in_pairs=is_gpu)
    assert ("may_be_prepared" in ours.labels) == (not is_gpu) and "may_be_prepared" not in theirs.labels
    world = World(Kernel(2e-5, held_bytes=9 * 10**8), Kernel(3e-5, held_bytes=9 * 10**8))
    assert "may_be_prepared" not in measured(world, monkeypatch, graph=False, in_pairs=is_gpu)[0].labels


def test_a_kernel_does_not_choose_its_rounds_by_being_slow_to_capture(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Kernel(2e-5, capturing_s=1.0), Kernel(3e-5))
    measured(world, monkeypatch)
    assert max(world.kernels["cell 0"].captured) == 256


def test_a_graph_is_first_tried_on_contents_it_was_not_captured_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a kernel does while it is captured is right for the contents of that moment, and for no others."""
    world = World(Kernel(2e-5), Kernel(3e-5))
    measured(world, monkeypatch)
    assert world.story[: world.story.index("tried")] == ["drawn", "captured", "captured", "drawn"]


@pytest.mark.parametrize(
    ("kernels", "graph"), [(1, True), (1, False), (2, False)], ids=["graphs", "call by call", "beside a reference"]
)
def test_no_cell_runs_between_contents_that_another_cell_knows_and_the_clock(
    monkeypatch: pytest.MonkeyPatch, kernels: int, *, graph: bool
) -> None:
    """One that did could be told of them, and work everything out before it is timed."""
    world = World(*[Kernel(2e-5)] * kernels)
    measured(world, monkeypatch, is_told=True, graph=graph)
    drawn = None
    for number, event in enumerate(world.story):
        if event == "drawn":
            drawn = number
        elif event == "timed":
            assert drawn is not None
            assert set(world.story[drawn + 1 : number]) <= {"timed"}
    assert world.story.count("timed") == world.story.count("woken") > 10


def test_in_a_short_time_rounds_are_of_fewer_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Kernel(1e-6), Kernel(1e-6))
    clock = SimpleNamespace(perf_counter=lambda: 0.0, monotonic=time.monotonic)
    for module in (measure, rounds, sizing):
        monkeypatch.setattr(module, "time", clock)  # contents take no time: however busy the machine is
    ours, theirs = measured(world, monkeypatch, max_s=0.01, target_rse=1e-9)
    assert 100 <= max(ours.calls + theirs.calls) <= 200


@pytest.mark.parametrize("graph", [3, 1], ids=["while sizing", "in a round"])
def test_what_cannot_be_captured_any_more_is_timed_call_by_call(graph: int, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Kernel(2e-5, refuses=graph), Kernel(3e-5), returns=True)
    for timing, call_s in zip(measured(world, monkeypatch, min_rounds=30), (2e-5, 3e-5), strict=True):
        assert timing.mode == "stream"
        assert timing.c0_us == pytest.approx(BASE_S * 1e6, rel=0.01)
        assert timing.stats.mean == pytest.approx((1 + PER_WORK) * (call_s + LAUNCHED_S) * 1e3, rel=0.01)
        assert world.offered[-30:] == list(enumerate(timing.calls, 1))
        assert timing.copy_ms == pytest.approx((1 + PER_WORK) * COPY_S * 1e3, rel=0.01)


def test_what_a_call_costs_is_known_before_it_is_held_against_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Kernel(2e-5, refuses=1), Kernel(3e-5))
    measured(world, monkeypatch, min_rounds=60)  # so that graph 1, which it refuses, is sure to be drawn
    [first_alone, *_] = [number for number, one in enumerate(world.rounds) if one == (False, 1)]
    assert not any(is_null and calls > 1 for is_null, calls in world.rounds[first_alone:])


def test_where_pairs_do_not_tell_a_null_round_comes_after_each_of_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for both sides, so that a machine which gets busier in between disturbs both alike."""
    world = World(Kernel(2e-5), Kernel(3e-5))
    measured(world, monkeypatch, graph=False, in_pairs=False)
    alone = [is_null for is_null, calls in world.rounds[world.rounds.index((False, 1)) :] if calls == 1]
    assert len(alone) == 9
    assert alone == [False, False, True] * 3


@pytest.mark.parametrize(
    ("alone_s", "in_pairs", "pairs"),
    [(None, True, 13), (1.1e-3, True, 43), (None, False, 13), (1.1e-3, False, 43)],
    ids=["honest", "batching", "honest where pairs do not tell", "batching where pairs do not tell"],
)
def test_who_is_much_faster_is_looked_at_for_as_long_as_it_takes_to_tell(
    alone_s: float | None, in_pairs: bool, pairs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(Kernel(2e-4, alone_s=alone_s), Kernel(1e-3))
    ours, _ = measured(world, monkeypatch, in_pairs=in_pairs)
    assert world.rounds.count((False, 1)) == 2 * pairs
    assert ("batched" in ours.labels) is (alone_s is not None)


def test_few_graphs_are_captured_however_many_rounds_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Kernel(2e-5), Kernel(2e-5))
    ours, _ = measured(world, monkeypatch, min_rounds=30)
    assert len(ours.calls) == 30
    for kernel in world.kernels.values():
        assert sum(calls > 16 for calls in kernel.captured) <= 4
    assert len(set(ours.calls)) <= 3


def test_the_null_works_about_as_long_as_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Kernel(2e-5))
    measured(world, monkeypatch)
    last = [(work, calls) for work, calls in world.nulls if work.kind is NullKernel.WORK and calls > 1][-5:]
    assert len(last) == 5
    for work, calls in last:
        assert World._null_s(work, calls) == pytest.approx(calls * 2e-5, rel=0.35)
        assert World._null_s(work, calls) <= calls * 2e-5 * 1.05


def test_no_other_null_makes_it_forget_how_long_clearing_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Kernel(2e-6))
    made_up(world, monkeypatch)
    [place] = world.places
    place.attach(64, phase=Phase.MEASURE, deadline=time.monotonic() + 600.0)
    random = torch.Generator()
    asked = nulls.Nulls(
        world.null,
        world.places,
        Surroundings(HostConditions(), []),
        lambda place, turn: side_round.plan_round(place.attached, [], turn, random),
    )
    asked.call_s = [2e-6]
    for kind in (NullKernel.WORK, NullKernel.TOUCH, NullKernel.WORK):
        asked.costs_s(0, kind, [64], replay=True)
    before, after = [work for work, _ in world.nulls if work.kind is NullKernel.WORK and work.cycles]
    assert before == after
    place.close()


@pytest.mark.parametrize("graph", [True, False], ids=["graphs", "call by call"])
def test_being_slow_before_the_clock_gains_nothing(graph: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it make rounds short, of which little can be told."""
    world = World(Kernel(2e-5, before_s=2e-3), Kernel(2e-5))
    ours, theirs = measured(world, monkeypatch, graph=graph, in_pairs=graph)
    assert ours.stats.mean >= 2e-5 * 1e3 * 0.99
    assert min(ours.calls) >= 128
    assert len(ours.calls) == len(theirs.calls) >= 7
    assert [number for number, _ in world.offered][-len(ours.calls) :] == list(range(1, len(ours.calls) + 1))


@pytest.mark.parametrize("is_told", [False, True], ids=["woken late", "woken early"])
@pytest.mark.parametrize("graph", [True, False])
def test_what_is_done_before_the_clock_runs_is_in_the_figure(
    graph: bool, is_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, cold = Kernel(4e-5), Kernel(4e-5, ahead_s=2e-3)
    for ours, theirs, is_labelled in (
        (Kernel(1e-5, ahead_s=0.5), honest, True),
        (cold, honest, False),
        (honest, Kernel(4e-5, ahead_s=0.5), False),
        (Kernel(4e-5, ahead_s=0.5), Kernel(4e-5, ahead_s=0.5), False),
    ):
        timings = measured(World(ours, theirs), monkeypatch, is_told=is_told, graph=graph, in_pairs=graph)
        assert ["prepared" in timing.labels for timing in timings] == [is_labelled, False]
        if is_labelled:
            assert timings[0].stats.min > 0.5e3 / 256
            assert compare_speed(*timings) is Comparison.SLOWER


@pytest.mark.parametrize("graph", [True, False])
def test_who_has_used_up_the_time_is_not_excused_by_few_rounds(graph: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are three, the one before which least went by in waking the kernel up would tell. The contract's time
    is over then, and evald's own is not."""
    began_s = time.monotonic()

    def measured_in_three(ours: Kernel, ahead_s: tuple[float, ...]) -> tuple[set[str], int]:
        world = World(ours, Kernel(4e-5))
        wake_up, more_s = world.wake_up, itertools.cycle(ahead_s)

        def waking(cell: Any, *rest: Any) -> float:
            if cell is world.places[0].cell:
                ours.ahead_s = next(more_s)
            return wake_up(cell, *rest)

        monkeypatch.setattr(world, "wake_up", waking)
        monkeypatch.setattr(measure, "is_time_for", lambda _, until: until < began_s + 300.0 or len(world.offered) < 3)
        timing = measured(world, monkeypatch, graph=graph, in_pairs=graph)[0]
        return set(timing.labels), len(timing.calls)

    labels, count = measured_in_three(Kernel(1e-5), (0.5, 0.0, 0.5))
    assert count >= 5 and "prepared" in labels
    labels, count = measured_in_three(Kernel(1e-5), (0.0,))
    assert count == 3 and labels & {"few_rounds", "prepared", "may_be_prepared"} == {"few_rounds"}
    monkeypatch.setattr(measure, "_OUTLAST_AT_MOST_S", 1e3)  # which the contract's deadline comes before
    labels, count = measured_in_three(Kernel(1e-5), (0.5, 0.0, 0.5))
    assert count == 3 and "may_be_prepared" in labels


def test_who_gets_faster_again_and_again_is_shown_longer_rounds_only_so_often(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(Kernel(1e-3), Kernel(1e-3))
    timed = world.run_timed

    def run_timed(place: SidePlace, *rest: Any, **more: Any) -> RoundResult:
        result = timed(place, *rest, **more)
        if "null" not in more:
            for kernel in world.kernels.values():
                kernel.call_s *= 0.8
        return result

    monkeypatch.setattr(world, "run_timed", run_timed)
    ours, _ = measured(world, monkeypatch, target_rse=0.9)  # no precision to speak of is to be had
    assert len(ours.calls) >= 7
    assert [number for number, _ in world.offered].count(1) <= 4


def test_who_gets_faster_again_and_again_does_not_have_short_rounds_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls take less than half of what rounds were sized for, until they are begun anew no more."""
    world = World(Kernel(1e-4, before_s=25e-3), Kernel(1e-3))
    timed, sizes = world.run_timed, list[int]()

    def run_timed(place: SidePlace, *rest: Any, **more: Any) -> RoundResult:
        slots = place.attached.layout.slots
        if slots not in sizes:
            sizes.append(slots)
        is_last = len(sizes) == measure._GROWN_AT_MOST + 2  # the first is for sizing
        world.kernels["cell 0"].call_s = 1e-4 if is_last else 0.02 / slots
        return timed(place, *rest, **more)

    monkeypatch.setattr(world, "run_timed", run_timed)
    ours, _ = measured(world, monkeypatch, graph=False, in_pairs=False)
    assert len(sizes) == measure._GROWN_AT_MOST + 2 and max(sizes[1:-1]) < 15
    assert sizes[-1] > 40 and min(ours.calls) * 2 >= sizes[-1]


def test_an_answer_that_is_copied_says_what_that_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = measured(World(Kernel(2e-5), Kernel(2e-5), returns=True), monkeypatch)
    assert ours.copy_ms == pytest.approx(COPY_S * 1e3)
    assert "copy_included" in ours.labels


def test_calls_cheaper_than_a_launch_are_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = measured(World(Kernel(4e-7), Kernel(2e-6)), monkeypatch)
    assert "batched" in ours.labels
    assert "batched" not in theirs.labels


@pytest.mark.parametrize("faster_on", [(), ("equal",), ("equal", "unlike")], ids=["no cache", "a cache", "clocks"])
def test_who_looks_as_if_it_remembered_contents_is_shown_others_once_more(
    faster_on: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    world, purposes = World(Kernel(2e-5), Kernel(2e-5)), [""]
    draw, timed = Drawer.draw, world.run_timed

    def drawing(drawer: Drawer, purpose: str, *rest: Any, **more: Any) -> list[torch.Tensor]:
        purposes.append(purpose)
        return draw(drawer, purpose, *rest, **more)

    def run_timed(place: SidePlace, *rest: Any, **more: Any) -> RoundResult:
        result = timed(place, *rest, **more)
        is_faster = purposes[-1] in faster_on and "null" not in more
        return replace(result, wall_s=BASE_S + (result.wall_s - BASE_S) / 5) if is_faster else result

    monkeypatch.setattr(Drawer, "draw", drawing)
    monkeypatch.setattr(world, "run_timed", run_timed)
    ours, _ = measured(world, monkeypatch)
    shown = [purpose for purpose in purposes if purpose in ("equal", "unlike")]
    wanted = {
        (): ["equal"],
        ("equal",): ["equal"] + ["unlike", "equal"] * 2,
        ("equal", "unlike"): ["equal", "unlike", "equal"],
    }
    assert shown == wanted[faster_on]
    assert ("content_cache" in ours.labels) is (faster_on == ("equal",))


def test_where_the_judge_looks_is_drawn_apart_from_what_a_cell_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the orders of earlier rounds somebody could work out the state of the generator that drew them."""
    seeds: list[int] = []

    def plan_round(*args: Any) -> RoundPlan:
        seeds.append(args[-1].initial_seed())
        return side_round.plan_round(*args)

    monkeypatch.setattr(rounds, "plan_round", plan_round)
    measured(World(Kernel(2e-5), Kernel(3e-5)), monkeypatch)
    assert len(set(seeds)) == len(seeds) > 10
