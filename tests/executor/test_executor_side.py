"""What the judge draws for a round, and how it wakes the cell up before. Without a cell."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from daemon.executor import side
from daemon.executor.arena import Arena
from daemon.executor.conditions import HostConditions, Surroundings
from daemon.executor.layout import TensorShape, plan
from daemon.executor.memory import HostMemory
from daemon.executor.round_turns import Turn
from daemon.executor.side import NullKernel, NullWork, RoundPlan

SHAPE = TensorShape("float32", (64,))
EMPTY = torch.empty(0, dtype=torch.int64)


@pytest.fixture
def arena() -> Iterator[Arena]:
    layout = plan([("x", SHAPE, False, False), ("y", SHAPE, True, True)], 4)
    memory = HostMemory(layout.total_bytes)
    yield Arena(layout, memory)
    memory.close()


def test_positions_and_what_stands_there_wrong_are_what_was_drawn(arena: Arena) -> None:
    secret, written = arena.layout.fields
    order = [2, 0, 3]
    drawn = side.plan_round(arena, [secret], Turn(tuple(order)), torch.Generator().manual_seed(5))
    again = torch.Generator().manual_seed(5)
    origins = torch.tensor([arena.layout.origin(slot) for slot in order])
    assert torch.equal(drawn.late, side._words([secret], origins, side._LATE_WORDS, again))
    wrong = torch.randint(-(2**31), 2**31, (drawn.late.numel(),), generator=again, dtype=torch.int32)
    assert torch.equal(drawn.late_wrong, wrong)
    assert torch.equal(drawn.probe, side._words([written], origins, side._PROBE_WORDS, again))
    assert {(int(word) * 4 - arena.layout.base) // arena.layout.stride for word in drawn.probe} == set(order)


def test_without_secrets_there_is_only_what_is_looked_at(arena: Arena) -> None:
    drawn = side.plan_round(arena, [], Turn((1,)), torch.Generator().manual_seed(5))
    assert (drawn.late.numel(), drawn.late_wrong.numel()) == (0, 0)
    assert drawn.probe.numel()


class Cell:
    """Writes down what it was asked."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []

    def request(self, message: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        self.asked.append(message)
        return {}

    def freeze(self) -> None:
        self.asked.append({"type": "frozen"})

    def require_silence(self) -> None:
        return


def woken(turn: Turn, null: NullWork | None = None) -> list[dict[str, Any]]:
    cell = Cell()
    side._rouse(cell, RoundPlan(turn, EMPTY, EMPTY, EMPTY), 0, 0.0, null)  # type: ignore[arg-type]
    assert cell.asked[-1] == {"type": "frozen"}
    return [asked for asked in cell.asked if asked["type"] != "frozen"]


def test_a_kernel_is_woken_by_the_graph_of_one_call() -> None:
    [run] = woken(Turn((0, 1, 2), replay=True, graph=2, rouse=3))
    assert (run["type"], run["replay"], run["graph"]) == ("run", True, 3)


def test_a_new_graph_is_captured_and_launched_itself() -> None:
    captured, run = woken(Turn((0, 1, 2), replay=True, graph=2, is_new=True))
    assert (captured["type"], captured["graph"], captured["order"]) == ("capture", 2, [0, 1, 2])
    assert (run["replay"], run["graph"]) == (True, 2)


def test_the_null_candidate_is_woken_by_its_own() -> None:
    work = NullWork(NullKernel.WORK, arena=1, cycles=7, graph=4)
    [run] = woken(Turn((0, 1), replay=True, graph=4, rouse=5), work)
    assert run["graph"] == 5
    assert run["null"] == {"kind": NullKernel.WORK, "arena": 1, "cycles": 7}


def test_calls_one_by_one_wake_with_a_few_of_them() -> None:
    assert [run["calls"] for run in woken(Turn(tuple(range(64))))] == [4]
    assert [run["calls"] for run in woken(Turn((0,)))] == [0]


class LateCell(Cell):
    """Its work is done by a thread some time after "done": here, the moment before it is frozen."""

    def __init__(self, arena: Arena) -> None:
        super().__init__()
        self._arena = arena

    def tell(self, *_: Any, **__: Any) -> None:
        return

    def thaw(self) -> None:
        return

    def await_answer(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    def freeze(self) -> None:
        self._arena.shared.bytes.fill_(7)


@pytest.mark.parametrize("is_cut_off", [True, False])
def test_a_cell_is_frozen_before_anything_is_looked_at_where_the_round_is_cut_off(
    is_cut_off: bool, arena: Arena
) -> None:
    turn = Turn((0, 1), is_cut_off=is_cut_off)
    plan = side.plan_round(arena, [], turn, torch.Generator().manual_seed(5))
    cell, place = LateCell(arena), SimpleNamespace(attached=arena)
    surroundings = Surroundings(HostConditions(), [])
    result = side.run_timed(place, plan, 0, cell, surroundings, deadline=0.0)  # type: ignore[arg-type]
    assert bool((result.seen == 0x07070707).all()) is is_cut_off
    assert result.late_writes(arena) == (0 if is_cut_off else result.seen.numel())
