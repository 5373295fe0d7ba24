"""How many calls a round has: as many as dwarf what it costs, and no more than there is memory and time for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from daemon.executor.timing import sizing as sizing_module
from daemon.executor.timing.sizing import MeasureRules, Sizing

NOW_S = 1000.0
LATER_S = NOW_S + 1e6
FREE: dict[str, Any] = {"arena_bytes": 1 << 40, "max_s": 1e4, "max_calls": 10**6, "min_rounds": 10}


class Bench:
    """A sizing whose parts write down what they are told, at a time that stands still. `walls_s`: of warm rounds."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        replay: bool = False,
        strides: tuple[int, ...] = (1,),
        cost_s: float = 0.0,
        slot_s: float = 0.0,
        walls_s: tuple[float, ...] = (),
        refusal: str | None = None,
        **rules: Any,
    ) -> None:
        monkeypatch.setattr(sizing_module, "time", SimpleNamespace(monotonic=lambda: NOW_S))
        self.story: list[object] = []
        walls = iter(walls_s)
        self.turns: Any = SimpleNamespace(replay=replay)
        rounds: Any = SimpleNamespace(
            slot_s=slot_s,
            warm_up=self._warm_up,
            run_warm=lambda *_: next(walls),
            why_not_replayed=lambda _: refusal,
            capture_single=lambda _: self.story.append("capture"),
        )
        self._rounds, self.slots_s = rounds, list[float]()  # what a slot takes after each time that slots are filled
        self.nulls: Any = SimpleNamespace(detach=lambda: self.story.append("detach"), call_s=[0.0] * len(strides))
        places: Any = [SimpleNamespace(wiring=SimpleNamespace(stride=lambda size=size: size)) for size in strides]
        drawer: Any = SimpleNamespace(cost_s=cost_s)
        given = MeasureRules(**{"target_rse": 0.01, "min_calls": 1, **FREE, **rules})
        self.sizing = Sizing(places, rounds, self.turns, self.nulls, drawer, given, self._one_by_one)

    def _one_by_one(self) -> None:
        self.story.append("one by one")

    def _warm_up(self, slots: int, _deadline: float) -> None:
        self.story.append(slots)
        if self.slots_s:
            self._rounds.slot_s = self.slots_s.pop(0)


@pytest.mark.parametrize(
    ("call_s", "calls", "more"),
    [
        (1e-4, 500, {}),
        (1e-4, 100, {"replay": True}),
        (5e-3, 8, {"replay": True}),
        (2e-2, 2, {"replay": True}),
        (1.0, 1, {}),
        (1e-4, 10, {"strides": (1, 100), "arena_bytes": 1000}),
        (1e-4, 1, {"strides": (10_000,), "arena_bytes": 1000}),
        (1e-4, 20, {"cost_s": 0.5, "max_s": 100.0}),
        (1e-4, 20, {"slot_s": 0.5, "max_s": 100.0}),
        (1e-9, 4000, {"max_s": 0.2}),
        (1e-9, 8, {"max_s": 1e-4}),
        (0.0, 7, {"max_calls": 7}),
    ],
    ids=str,
)
def test_the_first_of_what_limits_a_round_says_how_long_it_is(
    monkeypatch: pytest.MonkeyPatch, call_s: float, calls: int, more: dict[str, Any]
) -> None:
    """Time, memory, the contents of slots, what can be laid out, and what the settings say."""
    bench = Bench(monkeypatch, **more)
    assert bench.sizing.again(call_s, LATER_S) == calls
    assert bench.story == ["detach", calls, "capture"], "everything is warm for rounds of that length"


def test_a_third_of_the_time_that_is_left_is_for_contents(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, cost_s=0.5)
    assert [bench.sizing.again(1e-4, NOW_S + left_s) for left_s in (300.0, 30.0, -1.0)] == [20, 2, 1]


def test_rounds_are_begun_again_only_where_calls_are_much_shorter_than_they_looked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench(monkeypatch)
    calls = bench.sizing.again(1e-3, LATER_S)
    assert calls == 50
    assert [bench.sizing.are_too_few(calls, call_s, LATER_S) for call_s in (9e-4, 6e-4, 4e-4)] == [False, False, True]
    tight = Bench(monkeypatch, arena_bytes=60)
    assert not tight.sizing.are_too_few(tight.sizing.again(1e-3, LATER_S), 1e-4, LATER_S), "there is no memory for more"


def test_a_few_calls_tell_what_one_takes_without_what_a_round_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, strides=(1, 1), walls_s=(0.017, 0.0331))
    calibration: Any = SimpleNamespace(costs=lambda *_: [(0, 0.002), (16, 0.001)], overhead_s=None)
    calls = bench.sizing.first(1e-3, LATER_S, calibration, as_graph=False)
    assert calibration.overhead_s == 0.001, "what it took when nothing disturbed it"
    assert bench.nulls.call_s == pytest.approx([1e-3, 0.0321 / 16])
    assert calls == 25, "by the slower of the two"
    assert bench.story == [16, "one by one", "detach", 25, "capture"]


def test_a_round_that_costs_more_than_it_takes_leaves_its_calls_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, walls_s=(0.016,))
    calibration: Any = SimpleNamespace(costs=lambda *_: [(16, 1.0)], overhead_s=None)
    bench.sizing.first(1e-3, LATER_S, calibration, as_graph=False)
    assert bench.nulls.call_s == pytest.approx([0.016 * 0.05 / 16])


@pytest.mark.parametrize(("refusal", "as_graph"), [(None, True), ("it allocates", True), ("it allocates", False)])
def test_rounds_are_launches_of_graphs_where_they_may_be_and_every_kernel_can_be_captured(
    monkeypatch: pytest.MonkeyPatch, refusal: str | None, as_graph: bool
) -> None:
    bench = Bench(monkeypatch, walls_s=(0.016,), refusal=refusal)
    calibration: Any = SimpleNamespace(costs=lambda *_: [(16, 0.0)], overhead_s=None)
    bench.sizing.first(1e-3, LATER_S, calibration, as_graph=as_graph)
    assert (bench.turns.replay, bench.sizing.not_captured) == (
        as_graph and refusal is None,
        refusal if as_graph else None,
    )
    assert ("one by one" in bench.story) is not bench.turns.replay


def test_what_is_large_is_sized_by_two_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(monkeypatch, strides=(1 << 30,), walls_s=(2e-3,))
    calibration: Any = SimpleNamespace(costs=lambda *_: [(2, 0.0)], overhead_s=None)
    bench.sizing.first(1e-3, LATER_S, calibration, as_graph=False)
    assert bench.story[0] == 2


@pytest.mark.parametrize(
    ("slots_s", "sizes"),
    [([0.5, 0.05, 0.05], [16, "detach", 20, "detach", 50]), ([0.25, 0.05], [16, "detach", 40]), ([0.625], [16])],
    ids=["twice as many", "a few more", "as many"],
)
def test_rounds_are_made_longer_as_long_as_slots_turn_out_to_be_filled_faster(
    monkeypatch: pytest.MonkeyPatch, slots_s: list[float], sizes: list[object]
) -> None:
    bench = Bench(monkeypatch, walls_s=(0.016,), slot_s=0.5, max_s=100.0)
    bench.slots_s = slots_s
    calibration: Any = SimpleNamespace(costs=lambda *_: [(16, 0.0)], overhead_s=None)
    assert bench.sizing.first(1e-3, LATER_S, calibration, as_graph=False) == sizes[-1]
    assert bench.story == [16, "one by one", *sizes[1:], "capture"]
