"""Null rounds that suit the rounds they are subtracted from. Without a GPU: only the decision is looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from daemon.executor.cells.patience import Patience
from daemon.executor.content.wiring import SideField, Wiring
from daemon.executor.shared.layout import Layout, TensorShape, plan
from daemon.executor.timing.calibration import Calibration
from daemon.executor.timing.round_turns import RoundTurns
from daemon.executor.timing.series import Round, Series
from daemon.executor.timing.side import SidePlace, attach
from daemon.executor.timing.side_round import NullKernel
from daemon.verdict import Phase

BASE_S, SLOTS = 5e-4, 100


def layout(extent: int = 64, *, poisoned: bool = True) -> Layout:
    shape = TensorShape("float32", (extent,))
    return plan([("x", shape, False, False), ("y", shape, True, poisoned)], SLOTS)


LAYOUT = layout()


class Nulls:
    """Null rounds that cost what they should; which were taken is written down."""

    def __init__(self, sides: int) -> None:
        self.call_s = [0.0] * sides
        self.stopped_s: list[float] = []
        self.taken: list[tuple[int, int, int]] = []  # arena, calls, nanoseconds that a call of it is long

    def costs_s(self, index: int, _kind: NullKernel, sizes: list[int], *, replay: bool) -> list[tuple[int, float]]:
        self.taken += [(index, calls, round(self.call_s[index] * 1e9)) for calls in sizes]
        return [(calls, BASE_S) for calls in sizes]


class Case:
    """Rounds of `sides` kernels, as launches of graphs, and the nulls beside them."""

    def __init__(self, sides: int = 1, layouts: tuple[Layout, ...] = (LAYOUT, LAYOUT)) -> None:
        self.turns = RoundTurns(torch.Generator())
        self.turns.replay = True
        self.nulls = Nulls(sides)
        self.series = [Series() for _ in range(sides)]
        places: list[Any] = [SimpleNamespace(attached=SimpleNamespace(layout=layout)) for layout in layouts[:sides]]
        self.calibration = Calibration(self.nulls, places, self.series, self.turns)  # type: ignore[arg-type]
        self.calibration.overhead_s = BASE_S

    def round(self, *calls_s: float) -> list[tuple[int, int, int]]:
        """A round of every side; which null rounds came after it."""
        self.nulls.taken = []
        for series, call_s in zip(self.series, calls_s, strict=True):
            series.rounds.append(Round(SLOTS, BASE_S + SLOTS * call_s))
        self.calibration.beside(SLOTS)
        return self.nulls.taken


def test_the_fastest_of_the_first_rounds_says_how_long_nulls_are() -> None:
    case = Case()
    case.series[0].rounds += [Round(SLOTS, BASE_S + SLOTS * 8e-5), Round(SLOTS // 2, BASE_S + SLOTS // 2 * 2e-5)]
    taken = case.round(4e-5)
    assert [calls for _, calls, _ in taken] == [50, 100, 100]
    assert {call_ns for _, _, call_ns in taken} == {20_000}


def test_then_one_comes_beside_every_round() -> None:
    case = Case()
    case.round(2e-5)
    assert [[calls for _, calls, _ in case.round(2e-5)] for _ in range(3)] == [[50], [100], [50]]
    assert len(case.series[0].null) == 6


def test_a_kernel_that_speeds_up_later_gets_shorter_ones_and_the_longer_ones_are_forgotten() -> None:
    case = Case()
    case.round(2e-5)
    taken = case.round(5e-6)
    assert len(taken) == len(case.series[0].null) == 5
    assert {call_ns for _, _, call_ns in taken} == {5_000}
    assert len(case.round(2e-5)) == 1, "the fastest round counts"


def test_about_as_long_is_good_enough() -> None:
    case = Case()
    case.round(2e-5)
    assert len(case.round(1.9e-5)) == 1
    assert len(case.round(4e-5)) == 1, "nulls that are too short cost no less"


def test_nulls_get_longer_after_the_first_of_them_only() -> None:
    case = Case()
    case.calibration.overhead_s = BASE_S + SLOTS * 1e-5  # sizing found too much
    taken = case.round(2e-5)
    assert [call_ns for _, _, call_ns in taken] == [10_000] * 2 + [20_000] * 5
    assert len(case.series[0].null) == 5
    assert len(case.round(2e-5)) == 1


def test_it_does_not_go_on_for_ever_where_there_is_nothing_to_time() -> None:
    case = Case()
    case.round(-1e-6)
    assert len(case.round(-1e-6)) == 1
    assert case.nulls.call_s == [0.0]


def test_kernels_alike_share_their_nulls() -> None:
    case = Case(2)
    case.round(2e-5, 2.2e-5)
    arenas = [case.round(2e-5, 2.2e-5)[0][0] for _ in range(4)]
    assert case.series[0].null == case.series[1].null
    assert len(case.series[0].null) == 7
    assert set(arenas) == {0, 1}, "on either arena in turn"


@pytest.mark.parametrize(("longer_s", "is_shared"), [(1.9e-6, True), (2.6e-6, False)])
def test_so_do_rounds_that_chance_could_have_put_apart(longer_s: float, is_shared: bool) -> None:
    """A hundred calls of 1 us, and a round that is 0.09 or 0.16 ms longer."""
    case = Case(2)
    arenas = {arena for arena, _, _ in case.round(1e-6, longer_s)}
    assert arenas == ({0} if is_shared else {0, 1})


@pytest.mark.parametrize(
    ("other", "calls_s"),
    [(layout(128), (2e-5, 2e-5)), (layout(poisoned=False), (2e-5, 2e-5)), (LAYOUT, (2e-5, 4e-5))],
    ids=["larger tensors", "an answer that starts with something", "a longer call"],
)
def test_other_kernels_have_nulls_of_their_own(other: Layout, calls_s: tuple[float, float]) -> None:
    case = Case(2, (LAYOUT, other))
    taken = case.round(*calls_s)
    assert sorted(arena for arena, _, _ in taken) == [0] * 3 + [1] * 3
    assert [pytest.approx(one) for one in case.nulls.call_s] == list(calls_s)


def test_who_is_no_longer_alike_goes_on_with_nulls_of_its_own() -> None:
    case = Case(2)
    case.round(2e-5, 2e-5)
    taken = case.round(5e-6, 2e-5)
    assert [arena for arena, _, _ in taken] == [0] * 5 + [1]
    assert len(case.series[0].null) == 5
    assert len(case.series[1].null) == 4


@pytest.mark.parametrize("replay", [True, False], ids=["graphs", "call by call"])
@pytest.mark.parametrize("other", [LAYOUT, layout(128)], ids=["alike", "larger tensors"])
def test_rounds_of_no_call_are_taken_once_for_both_where_arenas_are_alike(other: Layout, replay: bool) -> None:
    case = Case(2, (LAYOUT, other))
    case.round(2e-5, 4e-5)
    case.turns.replay, case.nulls.taken = replay, []
    case.calibration.alone(0)
    assert case.nulls.taken == []
    case.calibration.alone(2)
    assert [arena for arena, calls, _ in case.nulls.taken if calls == 1] == (
        [0, 0] if other is LAYOUT else [0, 0, 1, 1]
    )
    assert [len(series.alone_null) for series in case.series] == [2, 2]


@pytest.mark.parametrize(("other", "arenas"), [(LAYOUT, [0]), (layout(128), [0, 1])], ids=["alike", "larger tensors"])
def test_null_rounds_around_calls_one_by_one_are_taken_once_for_both_where_arenas_are_alike(
    other: Layout, arenas: list[int]
) -> None:
    case = Case(2, (LAYOUT, other))
    case.turns.replay = False
    case.calibration.around(SLOTS)
    assert [arena for arena, _, _ in case.nulls.taken] == [arena for arena in arenas for _ in range(9)]
    assert [[calls for calls, _ in series.null] for series in case.series] == [[1, 50, 100] * 3] * 2


def test_what_it_costs_to_stop_a_cell_is_told_by_the_null_candidates() -> None:
    case = Case()
    assert case.calibration.stopping_s == 0
    case.nulls.stopped_s += [1e-3, 2e-3, 0.5]
    assert case.calibration.stopping_s == 4e-3, "twice in a round"


def test_the_null_candidate_gets_tensors_and_nothing_of_how_a_bundle_nests_them() -> None:
    """What it costs to hand a bundle's arguments over is the bundle's own word, and would be subtracted from it."""
    told: list[dict[str, Any]] = []
    cell: Any = SimpleNamespace(request=lambda message, *_, **__: told.append(message), freeze=lambda: None)
    shape = TensorShape("float32", (64,))
    wiring = Wiring(
        fields=(SideField("x", shape, logical=0, is_output=False), SideField("y", shape, None, is_output=True)),
        args={"u": [{"t": 0}, *[{"v": ["int", "7"]}] * 1000]},
        answer=(1,),
        names=("y",),
        returns=True,
    )
    place = SidePlace(cell, wiring, "cpu", Patience(60.0))
    place.attach(1, phase=Phase.MEASURE, deadline=0.0)
    try:
        attach(cell, wiring, place.attached, phase=Phase.MEASURE, deadline=0.0, is_null=True)
    finally:
        place.close()
    kernel, null = told
    assert kernel["args"] == wiring.args
    assert (null["args"], null["output_args"], null["structure"]) == ({"u": []}, [], "*")
    assert null["fields"] == kernel["fields"]
