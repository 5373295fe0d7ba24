"""What the judge draws for a round, and how it wakes the cell up before. Without a cell."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from daemon.executor.content import combs
from daemon.executor.content.arena import Arena
from daemon.executor.content.memory import HostMemory
from daemon.executor.shared.layout import TensorShape, plan
from daemon.executor.shared.protocol import unpacked
from daemon.executor.timing import side_round
from daemon.executor.timing.conditions import HostConditions, Surroundings
from daemon.executor.timing.round_turns import Turn
from daemon.executor.timing.side_round import NullKernel, NullWork

SHAPE = TensorShape("float32", (64,))


@pytest.fixture
def arena() -> Iterator[Arena]:
    layout = plan([("x", SHAPE, False, False), ("y", SHAPE, True, True)], 4)
    memory = HostMemory(layout.total_bytes)
    yield Arena(layout, memory)
    memory.close()


def test_a_plan_has_the_secret_places_and_those_to_look_at(arena: Arena) -> None:
    secret, written = arena.layout.fields
    order = (2, 0, 3)
    plan = side_round.plan_round(arena, [secret], Turn(order), torch.Generator().manual_seed(5))
    random = torch.Generator().manual_seed(5)
    assert plan.late == combs.drawn(arena.layout, [secret], order, random)
    size_bytes = sum(comb.size_bytes for comb in plan.late)
    assert torch.equal(plan.late_wrong, torch.randint(0, 256, (size_bytes,), generator=random, dtype=torch.uint8))
    assert plan.probe == combs.drawn(arena.layout, [written], order, random)


def test_without_secrets_there_is_only_what_is_looked_at(arena: Arena) -> None:
    plan = side_round.plan_round(arena, [], Turn((1,)), torch.Generator().manual_seed(5))
    assert (plan.late, plan.late_wrong.numel()) == ((), 0)
    assert plan.probe


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
    side_round.wake_up(cell, turn, 0, 0.0, Surroundings(HostConditions(), []), null)  # type: ignore[arg-type]
    assert cell.asked[-1] == {"type": "frozen"}
    return [asked for asked in cell.asked if asked["type"] != "frozen"]


def test_a_kernel_is_woken_by_the_graph_of_one_call() -> None:
    [run] = woken(Turn((0, 1, 2), replay=True, graph=2, waking_graph=3))
    assert (run["type"], run["replay"], run["graph"]) == ("run", True, 3)


def test_a_new_graph_is_captured_and_launched_itself() -> None:
    captured, run = woken(Turn((0, 1, 2), replay=True, graph=2, is_new=True))
    assert (captured["type"], captured["graph"], captured["order"]) == ("capture", 2, [0, 1, 2])
    assert (run["replay"], run["graph"]) == (True, 2)


def test_the_null_candidate_is_woken_by_its_own() -> None:
    work = NullWork(NullKernel.WORK, arena=1, cycles=7, graph=4)
    [run] = woken(Turn((0, 1), replay=True, graph=4, waking_graph=5), work)
    assert run["graph"] == 5
    assert run["null"] == {"kind": NullKernel.WORK, "arena": 1, "cycles": 7}


def test_calls_one_by_one_wake_with_a_few_of_them() -> None:
    [run] = woken(Turn(tuple(range(64)), waking=(3, 1)))
    assert unpacked(run["order"]) == [3, 1]
    assert not run["replay"]


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


def test_what_is_written_after_done_is_seen(arena: Arena) -> None:
    plan = side_round.plan_round(arena, [], Turn((0, 1)), torch.Generator().manual_seed(5))
    cell, place = LateCell(arena), SimpleNamespace(attached=arena)
    surroundings = Surroundings(HostConditions(), [])
    result = side_round.run_timed(place, plan, 0, cell, surroundings, deadline=0.0)  # type: ignore[arg-type]
    assert not (result.seen == 7).all()
    assert result.late_writes(arena) == int((result.seen != 7).sum())


class SlowToStop(LateCell):
    """Does what it is asked in a second. A system call that it has begun ends five seconds later, and what it has
    launched on the device twenty seconds after that."""

    def __init__(self, arena: Arena, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(arena)
        self._now = 0.0
        self._launched_s = 0.0
        self.surroundings = Surroundings(HostConditions(), [])
        monkeypatch.setattr(side_round, "time", SimpleNamespace(perf_counter=lambda: self._now))
        monkeypatch.setattr(HostConditions, "is_idle", self._wait_for_the_device)

    def request(self, message: dict[str, Any], *_: Any, **__: Any) -> dict[str, Any]:
        self._now, self._launched_s = self._now + 1, 20
        return {}

    def await_answer(self, *_: Any, **__: Any) -> dict[str, Any]:
        return self.request({})

    def freeze(self) -> None:
        self._now += 5

    def _wait_for_the_device(self, *_: Any) -> bool:
        self._now, self._launched_s = self._now + self._launched_s, 0.0
        return True


def test_waking_a_cell_up_lasts_until_it_stands_still_and_the_device_too(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    cell = SlowToStop(arena, monkeypatch)
    turn = Turn((0,), waking=(0,))
    assert side_round.wake_up(cell, turn, 0, 0.0, cell.surroundings) == 26  # type: ignore[arg-type]


@pytest.mark.parametrize("waking_seed", [None, 7])
def test_what_goes_by_until_all_of_a_round_has_come_to_an_end_is_told_beside_it(
    arena: Arena, monkeypatch: pytest.MonkeyPatch, waking_seed: int | None
) -> None:
    plan = side_round.plan_round(arena, [], Turn((0, 1), waking=(0,)), torch.Generator().manual_seed(5))
    cell, place = SlowToStop(arena, monkeypatch), SimpleNamespace(attached=arena)
    result = side_round.run_timed(
        place,  # type: ignore[arg-type]
        plan,
        0,
        cell,  # type: ignore[arg-type]
        cell.surroundings,
        deadline=0.0,
        waking_seed=waking_seed,
    )
    assert (result.wall_s, result.stopped_s) == (1, 25)
    assert result.woken_s == (None if waking_seed is None else 26)


class Order(HostConditions):
    """Notes who has the processor, and when."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def make_way(self) -> None:
        self.seen.append("make way")

    def step_in(self) -> None:
        self.seen.append("step in")


class NotingCell(LateCell):
    def __init__(self, arena: Arena, seen: list[str]) -> None:
        super().__init__(arena)
        self._seen = seen

    def thaw(self) -> None:
        self._seen.append("thaw")

    def freeze(self) -> None:
        self._seen.append("freeze")


def test_the_processor_is_the_cells_as_long_as_the_clock_runs(arena: Arena) -> None:
    plan = side_round.plan_round(arena, [], Turn((0, 1)), torch.Generator().manual_seed(5))
    conditions = Order()
    cell, place = NotingCell(arena, conditions.seen), SimpleNamespace(attached=arena)
    side_round.run_timed(place, plan, 0, cell, Surroundings(conditions, []), deadline=0.0)  # type: ignore[arg-type]
    assert conditions.seen[-4:] == ["make way", "thaw", "freeze", "step in"]


class ReadingCell(LateCell):
    """Looks at what it has before the clock runs, and when it is thawed."""

    def tell(self, *_: Any, **__: Any) -> None:
        self.before = self._arena.shared.bytes.clone()

    def thaw(self) -> None:
        self.thawed = self._arena.shared.bytes.clone()

    def freeze(self) -> None:
        return


def test_the_late_part_is_wrong_until_the_clock_runs(arena: Arena) -> None:
    arena.compose(torch.Generator().manual_seed(1), [0, 1, 2, 3])
    plan = side_round.plan_round(arena, [arena.layout.fields[0]], Turn((2, 1)), torch.Generator().manual_seed(5))
    cell, place = ReadingCell(arena), SimpleNamespace(attached=arena)
    result = side_round.run_timed(place, plan, 0, cell, Surroundings(HostConditions(), []), deadline=0.0)  # type: ignore[arg-type]
    here = slice(arena.layout.origin(1), arena.layout.origin(3))
    assert torch.equal(cell.thawed[here], arena.image[here])
    late = torch.zeros(arena.layout.total_bytes, dtype=torch.bool)
    for comb in plan.late:
        comb.of(late.view(torch.uint8)).fill_(1)
    differs = cell.before[here] != arena.image[here]
    assert differs.any()
    assert not (differs & ~late[here]).any()
    assert result.late_writes(arena) == 0
