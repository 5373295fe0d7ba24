"""Rounds of two kernels on the same contents: who comes first, what each may know before, what both must have left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from daemon.evaluation import Failure
from daemon.executor.cells.endings import CellFailed
from daemon.executor.content.inputs import Secret
from daemon.executor.timing import rounds as rounds_module
from daemon.executor.timing.conditions import UNKNOWN
from daemon.executor.timing.round_turns import RoundTurns
from daemon.executor.timing.rounds import COUNTS, Rounds
from daemon.executor.timing.series import Round
from daemon.executor.timing.side_round import NotCaptured
from daemon.verdict import Phase, Side, Verdict

SLOTS = 6
DEADLINE = 1e9
WRONG = CellFailed(Verdict.WRONG_ANSWER, Failure(phase=Phase.CHECK, side=Side.CANDIDATE, message="it differs"))


class Place:
    """One kernel's, that writes down what is done with it."""

    def __init__(self, number: int, story: list[str], *, changes_inputs: bool) -> None:
        self._number, self._story = number, story
        self.cell = SimpleNamespace(side=Side.CANDIDATE, number=number)
        self.wiring = SimpleNamespace(inputs=lambda _: [(0, "secret"), (1, "fixed")])
        self.seen: list[tuple[int, float]] = []
        self.patience = SimpleNamespace(waiting=self._waiting, saw=lambda *seen: self.seen.append(seen))
        fields = [SimpleNamespace(writable=True, poisoned=True)]
        fields += [SimpleNamespace(writable=changes_inputs, poisoned=False)]
        self.attached = SimpleNamespace(
            layout=SimpleNamespace(fields=fields),
            compose=lambda _, slots: self._tell("compose", slots),
            publish=lambda slots: self._tell("publish", slots),
        )
        self.filled: list[list[torch.Tensor]] = []

    def _tell(self, what: str, slots: list[int]) -> None:
        self._story.append(f"{what} {self._number}")
        assert sorted(slots) == list(range(min(slots), max(slots) + 1))

    @contextmanager
    def _waiting(self, _calls: int, deadline: float) -> Iterator[float]:
        yield deadline

    def attach(self, *_: object, **__: object) -> None:
        self._story.append(f"attach {self._number}")

    def fill(self, slots: list[int], values: list[torch.Tensor]) -> None:
        self._story.append(f"fill {self._number}")
        assert all(len(value) == len(slots) for value in values)
        self.filled.append(values)


class Table:
    """`rounds` of `count` kernels, and the `story` of what they did. `late`: at which look at a kernel's outputs (of
    all) bytes have changed."""

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        count: int = 2,
        replay: bool = False,
        is_told: bool = False,
        changes_inputs: bool = False,
    ) -> None:
        self.story: list[str] = []
        self.plans: list[tuple[list[Any], int]] = []
        self.seeds: list[tuple[int, int | None]] = []
        self.late: set[int] = set()
        self.refusal: str | None = None
        self.check: Callable[[int, list[int]], None] = lambda *_: self.story.append("check")
        self._looks = 0
        self.places: Any = [Place(number, self.story, changes_inputs=changes_inputs) for number in range(count)]
        self.secret = Secret()
        turns = self.turns = RoundTurns(self.secret.host_generator("turns"))
        turns.replay = replay
        turns.begin(SLOTS)
        drawer: Any = SimpleNamespace(draw=self._draw, is_told=is_told, is_secret=lambda logical: logical == 0)
        surroundings: Any = None
        self.rounds = Rounds(self.places, drawer, self.secret, surroundings, turns, self._compare)
        for name in ("run_timed", "run_untimed", "capture", "wake_up", "plan_round"):
            monkeypatch.setattr(rounds_module, name, getattr(self, f"_{name}"))

    def one(self, *, equal: bool = False) -> list[list[Round]]:
        """The rounds of each place."""
        series: list[list[Round]] = [[] for _ in self.places]
        self.story.clear()
        self.rounds.one(self.turns.usual(), COUNTS, DEADLINE, series, equal=equal)
        return series

    def _compare(self, number: int, slots: list[int]) -> None:
        self.check(number, slots)

    def _draw(self, purpose: str, _number: int, slots: list[int], *, deadline: float) -> list[torch.Tensor]:
        assert deadline == DEADLINE if purpose != "pause" else deadline > time.monotonic() + 1
        self.story.append(f"draw {len(slots)} for {purpose}" if len(slots) == 1 else f"draw for {purpose}")
        return [torch.arange(len(slots) * 2.0).reshape(len(slots), 2) for _ in range(2)]

    def _plan_round(self, _arena: object, fields: list[Any], turn: object, random: torch.Generator) -> object:
        self.plans.append((fields, random.initial_seed()))
        return SimpleNamespace(turn=turn)

    def _run_timed(
        self, place: Any, plan: Any, seed: int, cell: Any, _: object, *, deadline: float, waking_seed: int | None
    ) -> object:
        assert deadline == DEADLINE
        self.story.append(f"run {cell.number}")
        self.seeds.append((seed, waking_seed))
        woken_s = None if waking_seed is None else 0.5
        wall_s = 1.0 + cell.number
        return SimpleNamespace(
            wall_s=wall_s,
            plan=plan,
            inside_s=None,
            reading=UNKNOWN,
            stopped_s=2.0,
            woken_s=woken_s,
            late_writes=self._late_writes,
        )

    def _late_writes(self, _arena: object) -> int:
        self._looks += 1
        return int(self._looks in self.late)

    def _run_untimed(self, place: Any, order: list[int], *_: object, **more: object) -> float:
        self.story.append(f"run {place.cell.number} untimed{' as graph' if more['replay'] else ''}")
        assert sorted(order) == list(range(len(order)))
        return 0.1

    def _capture(self, cell: Any, order: list[int], *_: object, graph: int, **__: object) -> str | None:
        self.story.append(f"capture {graph} of {cell.number}")
        assert self.rounds.is_capturing
        return self.refusal

    def _wake_up(self, cell: Any, *_: object) -> float:
        self.story.append(f"wake {cell.number}")
        return 0.25


def test_who_comes_first_changes_so_that_neither_gains_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch)
    filled = ["compose 0", "compose 1", "draw for round", "fill 0", "fill 1"]
    for first, second in ((0, 1), (1, 0), (1, 0), (0, 1)) * 2:
        told = table.one()
        assert table.story == [*filled, f"run {first}", f"run {second}", "check"]
        assert [round_.wall_s for [round_] in told] == [1.0, 2.0], "each in the series of its own place"
        assert {round_.woken for [round_] in told} == {(1, 2.5)}
    mine, theirs = (place.filled for place in table.places)
    assert all(torch.equal(*pair) for ours, others in zip(mine, theirs, strict=True) for pair in zip(ours, others))  # noqa: B905
    assert all(calls > SLOTS // 3 for place in table.places for calls, _ in place.seen)
    assert [[wall_s for _, wall_s in place.seen] for place in table.places] == [[1.0] * 8, [2.0] * 8]
    assert len({seed for seed, _ in table.seeds}) == len({waking for _, waking in table.seeds}) == 8
    assert {seed for seed, _ in table.seeds}.isdisjoint(waking for _, waking in table.seeds)


def test_a_cell_that_is_told_contents_is_woken_before_they_are_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch, is_told=True)
    for first, second in ((0, 1), (1, 0)):
        told = table.one()
        assert table.story[:2] == [f"wake {second}", f"wake {first}"], "who runs first has waited as long"
        assert [line for line in table.story[2:] if line.startswith(("wake", "draw"))] == ["draw for round"]
        assert {round_.woken for [round_] in told} == {(1, 2.25)}
    assert {waking for _, waking in table.seeds} == {None}
    pause = table.rounds.pause()
    assert pause is not None
    pause()
    assert table.story[-1] == "draw for pause", "for null rounds, as long as one of a kernel's"


@pytest.mark.parametrize(("count", "is_early"), [(1, True), (2, False)])
def test_launches_of_graphs_wake_early_where_there_is_no_other_source(
    monkeypatch: pytest.MonkeyPatch, count: int, is_early: bool
) -> None:
    table = Table(monkeypatch, count=count, replay=True, is_told=True)
    table.one()
    assert ("wake 0" in table.story) == is_early
    assert (table.rounds.pause() is not None) == is_early


def test_where_nobody_is_told_contents_null_rounds_have_no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Table(monkeypatch).rounds.pause() is None


@pytest.mark.parametrize(("look", "checked"), [(1, False), (2, False), (3, True), (4, True)])
def test_what_changes_after_done_is_seen_at_once_and_when_all_is_compared(
    monkeypatch: pytest.MonkeyPatch, look: int, checked: bool
) -> None:
    table = Table(monkeypatch)
    table.late = {look}
    series: list[list[Round]] = [[], []]
    with pytest.raises(CellFailed) as caught:
        table.rounds.one(table.turns.usual(), COUNTS, DEADLINE, series)
    assert caught.value.verdict is Verdict.INTEGRITY_VIOLATION
    assert ("check" in table.story, series) == (checked, [[], []])


def test_a_round_whose_answers_are_wrong_counts_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch)
    series: list[list[Round]] = [[], []]
    table.check = failing
    with pytest.raises(CellFailed, match="it differs"):
        table.rounds.one(table.turns.usual(), COUNTS, DEADLINE, series)
    assert series == [[], []]


@pytest.mark.parametrize("changes_inputs", [True, False])
def test_what_a_kernel_may_change_is_put_back_before_it_is_woken(
    monkeypatch: pytest.MonkeyPatch, changes_inputs: bool
) -> None:
    table = Table(monkeypatch, is_told=True, changes_inputs=changes_inputs)
    table.rounds.warm_up(SLOTS, DEADLINE)
    table.one()
    table.one()
    assert table.story[:2] == (["publish 0", "publish 1"] if changes_inputs else ["wake 0", "wake 1"])


def test_where_the_judge_looks_is_among_secrets_and_tells_nothing_of_the_next_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    table = Table(monkeypatch)
    for _ in range(4):
        table.one()
    assert all(fields == ["secret"] for fields, _ in table.plans)
    assert len({seed for _, seed in table.plans}) == len(table.plans) == 8


def test_equal_contents_are_drawn_once_for_all_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch)
    table.one(equal=True)
    assert "draw 1 for round" in table.story
    [values] = table.places[0].filled
    assert all(len(value) > 1 and torch.equal(value[0], value[-1]) for value in values)


def failing(*_: object) -> None:
    raise WRONG


def test_a_kernel_is_timed_as_a_graph_where_a_launch_gives_right_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table(monkeypatch)
    assert table.rounds.why_not_replayed(DEADLINE) is None
    capturing = ["capture 0 of 0", "capture 0 of 1"]
    launches = ["run 0 untimed as graph", "run 1 untimed as graph", "check"]
    assert [line for line in table.story if line.startswith(("capture", "run", "check"))] == [*capturing, *launches]
    assert table.story.index("draw for capture") > 1, "on contents that were not there when it was captured"
    table.check = failing
    assert "does not do what the calls do: it differs" in str(table.rounds.why_not_replayed(DEADLINE))
    table.refusal = "it allocates"
    table.story.clear()
    assert table.rounds.why_not_replayed(DEADLINE) == "it allocates"
    assert table.story == ["capture 0 of 0"]


@pytest.mark.parametrize("replay", [True, False])
def test_the_graph_of_one_call_is_captured_where_rounds_are_launches(
    monkeypatch: pytest.MonkeyPatch, replay: bool
) -> None:
    table = Table(monkeypatch, replay=replay)
    table.rounds.capture_single(DEADLINE)
    assert table.story == (["capture 3 of 0", "capture 3 of 1"] if replay else [])
    assert not table.rounds.is_capturing
    table.refusal = "it allocates"
    if replay:
        with pytest.raises(NotCaptured, match="it allocates"):
            table.rounds.capture_single(DEADLINE)


@pytest.mark.parametrize("replay", [True, False])
def test_every_slot_is_filled_and_every_kernel_called_on_it_before_anything_is_timed(
    monkeypatch: pytest.MonkeyPatch, replay: bool
) -> None:
    table = Table(monkeypatch, replay=replay)
    table.rounds.warm_up(2 * SLOTS, DEADLINE)
    assert sorted(table.turns.captured) == list(range(2 * SLOTS))
    captured = ["capture 0 of 0", "capture 0 of 1"] if replay else []
    assert table.story == [
        *("attach 0", "attach 1", "compose 0", "compose 1", "draw for warm", "fill 0", "fill 1"),
        *captured,
        *(f"run {number} untimed{' as graph' if replay else ''}" for number in (0, 1)),
    ]
    assert table.rounds.slot_s > 0


def test_what_a_slot_takes_is_filling_it_and_comparing_what_came_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_s = [100.0]
    monkeypatch.setattr(rounds_module, "time", SimpleNamespace(perf_counter=lambda: clock_s[0]))
    table = Table(monkeypatch)

    def takes(seconds: float) -> Callable[..., None]:
        return lambda *_: clock_s.__setitem__(0, clock_s[0] + seconds)

    fill = table.places[0].fill
    table.places[0].fill = lambda *given: (takes(3.0)(), fill(*given))
    table.rounds.warm_up(SLOTS, DEADLINE)
    assert table.rounds.slot_s == pytest.approx(3.0 / SLOTS)
    table.check = takes(6.01)
    assert table.rounds.why_not_replayed(DEADLINE) is None
    assert table.rounds.slot_s == pytest.approx(9.0 / SLOTS)
    table.check = takes(0.001)
    assert table.rounds.why_not_replayed(DEADLINE) is None
    assert table.rounds.slot_s == pytest.approx(3.0 / SLOTS), "what it takes at all is no slot's"
