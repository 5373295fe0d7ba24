"""Which slots a round is on: every slot once at most, half of them or more where it counts, graphs kept."""

from __future__ import annotations

import pytest
import torch

from daemon.executor.timing.round_turns import RoundTurns

SLOTS = 9


def turns(*, replay: bool, slots: int = SLOTS) -> RoundTurns:
    made = RoundTurns(torch.Generator().manual_seed(1))
    made.replay = replay
    made.begin(slots)
    return made


@pytest.mark.parametrize("replay", [True, False])
def test_a_round_that_counts_is_on_half_of_the_slots_or_more_and_on_none_twice(replay: bool) -> None:
    drawn = turns(replay=replay)
    for _ in range(50):
        order = drawn.usual().order
        assert (SLOTS + 1) // 2 <= len(order) <= SLOTS
        assert sorted(order) == list(range(min(order), min(order) + len(order))), "neighbours"
        assert set(order) <= set(range(SLOTS))


def test_without_graphs_no_round_is_like_another() -> None:
    drawn = turns(replay=False)
    seen = [drawn.usual().order for _ in range(50)]
    assert len(set(seen)) > 40
    assert {min(order) for order in seen} >= {0, 1, 2}, "they begin anywhere"
    assert sum(list(order) == sorted(order) for order in seen) < 5
    assert {drawn.single().order for _ in range(200)} == {(slot,) for slot in range(SLOTS)}
    assert sorted(drawn.whole().order) == list(range(SLOTS))
    assert drawn.whole().order != drawn.whole().order


def test_rounds_follow_from_what_they_are_drawn_from_and_from_nothing_else() -> None:
    """Who has the state of torch's own generator, which a judge uses for other things, knows nothing of them."""
    told = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        for replay in (True, False):
            drawn = turns(replay=replay)
            told.append([drawn.captured, *(drawn.usual().order for _ in range(9)), drawn.single().order])
    assert told[:2] == told[2:]


@pytest.mark.parametrize("replay", [True, False])
def test_rounds_that_count_are_of_every_length_from_half_of_the_slots_to_all(replay: bool) -> None:
    found = set[int]()
    for seed in range(60):
        drawn = RoundTurns(torch.Generator().manual_seed(seed))
        drawn.replay = replay
        drawn.begin(SLOTS)
        found |= {len(drawn.usual().order) for _ in range(9)}
    assert found == set(range((SLOTS + 1) // 2, SLOTS + 1))


def test_how_many_calls_wake_a_cell_up_is_those_of_the_graph_that_does() -> None:
    drawn = turns(replay=True)
    usual = drawn.usual()
    assert usual.waking_calls == len(usual.order)
    drawn.single()
    assert [drawn.whole().waking_calls, drawn.single().waking_calls] == [1, 1]
    few = turns(replay=False, slots=40).few(32)
    assert few.waking_calls == len(few.waking) == 4


@pytest.mark.parametrize(("calls", "waking"), [(1, 1), (7, 1), (16, 2), (32, 4), (40, 4)])
def test_a_few_calls_on_what_the_last_round_left_wake_a_cell_up(calls: int, waking: int) -> None:
    """So that what they see there is not new to them, and none of what comes."""
    drawn = turns(replay=False, slots=40)
    last, found = set(drawn.captured), []
    for _ in range(20):
        turn = drawn.few(calls)
        assert set(turn.waking) <= last
        assert len(set(turn.waking)) == len(turn.waking) == waking
        found.append(turn.waking)
        last = set(turn.order)
    assert len(set(found)) > 1


def test_after_a_round_of_one_call_that_one_wakes() -> None:
    drawn = turns(replay=False, slots=40)
    alone = drawn.single()
    assert drawn.few(40).waking == alone.order


def test_graphs_are_captured_once_and_take_turns() -> None:
    drawn = turns(replay=True)
    seen = [drawn.usual() for _ in range(50)]
    assert {turn.graph for turn in seen} == {0, 1, 2}
    for number in (1, 2):
        of_one = [turn for turn in seen if turn.graph == number]
        assert [turn.is_new for turn in of_one] == [True] + [False] * (len(of_one) - 1)
        assert len({turn.order for turn in of_one}) == 1
    assert all(not turn.is_new and list(turn.order) == drawn.captured for turn in seen if turn.graph == 0)
    assert all(turn.waking_graph is None for turn in seen), "there is no graph of one call yet"
    assert drawn.whole().order == tuple(drawn.captured)
    alone = [drawn.single() for _ in range(3)]
    assert [(len(turn.order), turn.is_new, turn.graph) for turn in alone] == [
        (1, True, 3),
        (1, False, 3),
        (1, False, 3),
    ]


def test_once_there_is_a_graph_of_one_call_it_wakes_cells_up() -> None:
    drawn = turns(replay=True)
    drawn.single()
    seen = [drawn.usual() for _ in range(50)] + [drawn.whole(), drawn.single()]
    assert {turn.waking_graph for turn in seen if not turn.is_new} == {3}
    assert [turn.waking_graph for turn in seen if turn.is_new] == [None, None], "a new one has to be launched itself"
    drawn.begin(2 * SLOTS)
    assert drawn.whole().waking_graph is None


def test_the_slot_that_wakes_cells_up_gets_fresh_content_in_every_round() -> None:
    drawn = turns(replay=True)
    [waking] = drawn.single().order
    for turn in [drawn.usual() for _ in range(50)] + [drawn.whole(), drawn.single()]:
        assert waking in turn.order
        assert sorted(turn.order) == list(range(min(turn.order), min(turn.order) + len(turn.order)))


def test_wherever_the_waking_slot_is_graphs_are_on_neighbours_around_it() -> None:
    for seed in range(60):
        drawn = RoundTurns(torch.Generator().manual_seed(seed))
        drawn.replay = True
        drawn.begin(SLOTS)
        [waking] = drawn.single().order
        for turn in [drawn.usual() for _ in range(8)]:
            assert waking in turn.order
            assert set(turn.order) <= set(range(SLOTS))


def test_with_other_slots_everything_is_captured_anew() -> None:
    drawn = turns(replay=True)
    drawn.single()
    before = drawn.captured
    drawn.begin(2 * SLOTS)
    assert len(drawn.captured) == 2 * len(before)
    assert drawn.single().is_new


def test_calls_one_by_one_are_no_graph() -> None:
    turn = turns(replay=True).few(4)
    assert (len(turn.order), turn.replay, turn.is_new) == (4, False, False)
