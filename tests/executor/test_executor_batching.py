"""Who does the work of a whole round in one call: told from rounds of one call, in pairs, and by the cells' words."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from daemon.executor.timing.batching import CallTimes, Suspicion

BASE_S, SCATTER_S = 6e-4, 4e-5
US = 1e-6


def calls(
    usual_s: float, alone_s: float, count: int = 43, *, seed: int = 1, inside: tuple[float, float] | None = None
) -> CallTimes:
    """Of a kernel whose calls take `usual_s` in long rounds and `alone_s` alone, on a host that scatters."""
    drawn = random.Random(seed)

    def walls(more_s: float) -> list[float]:
        return [drawn.gauss(BASE_S + more_s, SCATTER_S) for _ in range(count)]

    if inside is None:
        return CallTimes(usual_s, walls(alone_s), walls(0.0)[:4])
    told = [inside[1] + abs(drawn.gauss(0.0, US)) for _ in range(count)]
    return CallTimes(usual_s, walls(alone_s), walls(0.0)[:4], inside[0], told)


def suspicion(mine: CallTimes, other: CallTimes | None, *, in_pairs: bool = True) -> Suspicion:
    return Suspicion(mine, other, 10 * US, in_pairs)


def test_pairs_of_rounds_find_what_scatters_more_than_it_takes() -> None:
    other = calls(90 * US, 93 * US, seed=2)
    found = [suspicion(calls(2 * US, 93 * US, seed=seed), other).is_proved for seed in range(20)]
    assert all(found)


def test_a_kernel_that_is_simply_faster_is_not_suspected_of_it() -> None:
    other = calls(50 * US, 55 * US, 123, seed=2)
    found = [suspicion(calls(5 * US, 10 * US, 123, seed=seed), other) for seed in range(200)]
    assert not any(one.is_proved for one in found)


def test_what_long_calls_share_is_seen_in_few_rounds() -> None:
    """And what short ones do not: nobody is cleared by so few who hides as much as one may not."""
    other = calls(400 * US, 410 * US, 13, seed=2)
    honest = [suspicion(calls(200 * US, 210 * US, 13, seed=seed), other) for seed in range(100)]
    assert sum(one.is_cleared for one in honest) > 95
    hiding = [suspicion(calls(200 * US, 410 * US, 13, seed=seed), other) for seed in range(100)]
    assert sum(one.is_cleared for one in hiding) <= 2
    short = [
        suspicion(calls(2 * US, 93 * US, 13, seed=seed), calls(90 * US, 93 * US, 13, seed=2)) for seed in range(100)
    ]
    assert not any(one.is_cleared for one in short)


def test_whose_own_clock_speaks_against_it_is_not_cleared_by_pairs() -> None:
    other = calls(400 * US, 410 * US, 13, seed=2)
    admitting = calls(200 * US, 210 * US, 13, inside=(200 * US, 600 * US))
    assert suspicion(replace(admitting, alone_inside_s=()), other).is_cleared
    assert not suspicion(admitting, other).is_cleared
    assert not suspicion(admitting, None).is_cleared


def test_to_batch_up_to_the_speed_of_the_other_side_is_found_too() -> None:
    """It looks no better than its reference, and four times as fast as it is."""
    other = calls(50 * US, 54 * US, seed=2)
    assert all(suspicion(calls(51 * US, 204 * US, seed=seed), other).is_proved for seed in range(20))


def test_launched_one_by_one_a_cold_call_may_cost_what_it_costs_the_other_side_once_more() -> None:
    """150 us of cold Python there, up to 300 here; and no excuse for overlapping calls of 400 us."""
    other = calls(500 * US, 650 * US, seed=2)
    cold = [
        Suspicion(calls(80 * US, 370 * US, seed=seed), other, 20 * US, in_pairs=True, is_cold=True)
        for seed in range(50)
    ]
    assert sum(one.is_proved for one in cold) <= 1
    assert sum(replace(one, is_cold=False).is_proved for one in cold) > 25
    batched = calls(80 * US, 900 * US)
    assert Suspicion(batched, other, 20 * US, in_pairs=True, is_cold=True).is_proved


def test_launched_one_by_one_nobody_is_suspected_because_the_processor_got_faster_meanwhile() -> None:
    """The other side's calls are Python's, 280 us among many, and 220 by the time calls alone are looked at."""
    other = calls(280 * US, 220 * US, 123, seed=2)
    honest = [
        Suspicion(calls(14 * US, 20 * US, 123, seed=seed), other, 20 * US, in_pairs=True, is_cold=True)
        for seed in range(50)
    ]
    assert sum(one.is_proved for one in honest) <= 1
    assert sum(replace(one, is_cold=False).is_proved for one in honest) > 25
    assert Suspicion(calls(14 * US, 220 * US, 123), other, 20 * US, in_pairs=True, is_cold=True).is_proved


def test_launched_one_by_one_a_call_may_overlap_with_the_next_and_be_cold_alone() -> None:
    other = calls(40 * US, 40 * US, 123, seed=2)
    overlapping = [
        Suspicion(calls(54 * US, 118 * US, 123, seed=seed), other, 20 * US, in_pairs=True, is_cold=True)
        for seed in range(50)
    ]
    assert not any(one.is_proved for one in overlapping)
    assert Suspicion(calls(2 * US, 80 * US, 123), other, 20 * US, in_pairs=True, is_cold=True).is_proved


def test_without_pairs_who_gains_little_may_have_threads_to_wake() -> None:
    """An honest call costs 200 us more alone than among many: its parallel loops' threads sleep."""
    other = calls(58 * US, 110 * US, seed=2)
    labelled = [
        Suspicion(calls(usual_us * US, (usual_us + 200) * US, seed=seed), other, 20 * US, in_pairs=False).is_proved
        for usual_us in (50, 12)
        for seed in range(20)
    ]
    assert labelled == [False] * 20 + [True] * 20


def busy(usual_s: float, alone_s: float, *, seed: int) -> CallTimes:
    """The same on a CPU that others keep busy: what a call alone costs scatters by milliseconds."""
    drawn = random.Random(seed)
    return CallTimes(
        usual_s,
        [BASE_S + alone_s + drawn.expovariate(1 / 3e-3) for _ in range(43)],
        [BASE_S + drawn.expovariate(1 / 1e-3) for _ in range(43)],
    )


def test_on_a_cpu_calls_that_cost_about_the_same_alone_are_cleared_by_few_rounds() -> None:
    """Where too much else goes on nobody is."""
    other = calls(900 * US, 910 * US, 13, seed=2)

    def cleared(usual_us: float, alone_us: float) -> int:
        found = 0
        for seed in range(100):
            mine = calls(usual_us * US, alone_us * US, 13, seed=seed)
            beside = replace(mine, nulls_s=calls(0.0, 0.0, 13, seed=1000 + seed).alone_s)
            found += suspicion(beside, other, in_pairs=False).is_cleared
        return found

    assert cleared(400, 410) > 95
    assert cleared(400, 800) == cleared(40, 80) == 0  # two calls' work in one
    assert not any(suspicion(busy(2e-4, 2e-3, seed=seed), other, in_pairs=False).is_cleared for seed in range(50))
    assert not suspicion(CallTimes(400 * US, (), ()), other, in_pairs=False).is_cleared


def test_a_busy_cpu_hides_batching_but_makes_nobody_faster() -> None:
    """Calls of 2 ms in 0.2: what honest ones cost alone here is of the same size."""
    found = [
        suspicion(busy(2e-4, 2e-3, seed=seed), busy(2e-3, 2e-3, seed=99 + seed), in_pairs=False) for seed in range(50)
    ]
    assert all(one.is_open or one.is_proved for one in found)
    assert sum(one.is_open for one in found) > 40
    assert min(one.bound_s for one in found) > 1e-3


def test_who_is_faster_alone_too_is_faster_on_a_busy_cpu() -> None:
    faster = [
        suspicion(busy(2e-4, 2e-4, seed=seed), busy(8e-3, 8e-3, seed=99 + seed), in_pairs=False) for seed in range(50)
    ]
    assert not any(one.is_open or one.is_proved for one in faster)


@pytest.mark.parametrize(
    "mine",
    [calls(30 * US, 60 * US), calls(10 * US, 19 * US), calls(10 * US, 20 * US)],
    ids=["gains less than a factor of two", "costs little more alone", "is seen to be faster alone"],
)
def test_nothing_is_left_open_on_a_quiet_cpu(mine: CallTimes) -> None:
    assert not suspicion(mine, calls(50 * US, 100 * US, seed=2), in_pairs=False).is_open


def test_pairs_of_rounds_and_who_is_alone_leave_nothing_open() -> None:
    mine, other = busy(2e-4, 2e-3, seed=1), busy(2e-3, 2e-3, seed=2)
    assert not suspicion(mine, other).is_open
    assert not suspicion(mine, None, in_pairs=False).is_open


LATE = [0.0, 2.0] * 6 + [1.0]  # half of the time: a median of which nothing is known


def late_alone(mine: CallTimes, late_s: float) -> CallTimes:
    walls = [wall_s + late_s * share for wall_s, share in zip(mine.alone_s, LATE, strict=True)]
    return replace(mine, alone_s=walls)


@pytest.mark.parametrize("in_pairs", [True, False])
@pytest.mark.parametrize("late_s", [1e-2, 1.0])
def test_who_is_late_now_and_then_when_alone_is_not_excused_by_what_that_scatters(
    late_s: float, in_pairs: bool
) -> None:
    """Few rounds of one call fit into the time then. Calls of 3 ms in 0.6, beside others of 1 ms; and of 93 us in 2."""
    for others_us, usual_us, alone_us in ((1000, 600, 3000), (90, 2, 93))[: 2 if in_pairs else 1]:
        other = calls(others_us * US, others_us * US, 13, seed=2)
        mine = late_alone(calls(usual_us * US, alone_us * US, 13), late_s)
        assert suspicion(mine, other, in_pairs=in_pairs).is_proved
        assert not suspicion(mine, other, in_pairs=in_pairs).is_cleared
        assert suspicion(mine, other, in_pairs=in_pairs).bound_s > late_s
    assert suspicion(late_alone(calls(600 * US, 3e-3, 13), late_s), None).is_proved


def test_single_calls_may_scatter_by_what_they_take() -> None:
    mine, other = late_alone(calls(400 * US, 410 * US, 13), 2e-4), calls(900 * US, 910 * US, 13, seed=2)
    for in_pairs in (True, False):
        assert not suspicion(mine, other, in_pairs=in_pairs).is_proved


def test_to_launch_a_call_while_the_one_before_still_runs_is_not_batching() -> None:
    other = calls(120 * US, 130 * US, 123, seed=2)
    assert not any(suspicion(calls(100 * US, 195 * US, 123, seed=seed), other).is_proved for seed in range(50))


def test_without_pairs_who_looks_no_better_than_the_other_side_is_not_suspected() -> None:
    slow = suspicion(calls(60 * US, 2e-3), calls(50 * US, 55 * US, seed=2), in_pairs=False)
    assert not slow.is_proved
    assert not slow.is_there


def test_a_few_rounds_are_reason_to_look_again_and_no_proof() -> None:
    other = calls(46 * US, 50 * US, 3, seed=2)
    found = [suspicion(calls(2 * US, 50 * US, 3, seed=seed), other) for seed in range(40)]
    assert sum(one.is_there for one in found) > sum(one.is_proved for one in found)


def test_a_cell_is_taken_at_its_word_when_that_speaks_against_it() -> None:
    """Calls of 20 us in 2 us: too little for walls, which scatter by 40."""
    other = calls(20 * US, 24 * US, seed=2, inside=(20 * US, 24 * US))
    assert suspicion(calls(2 * US, 24 * US, inside=(2 * US, 24 * US)), other).is_proved
    assert not suspicion(calls(2 * US, 24 * US), other)._admits_it


def test_a_few_words_are_reason_to_look_again_and_no_proof() -> None:
    other = calls(20 * US, 24 * US, 3, seed=2, inside=(20 * US, 24 * US))
    few = suspicion(calls(2 * US, 2 * US, 3, inside=(2 * US, 24 * US)), other)
    assert few.is_there
    assert not few.is_proved


@pytest.mark.parametrize("jitter_s", [2 * US, 10 * US, 20 * US])
def test_what_an_honest_cell_says_of_its_launches_is_not_held_against_it(jitter_s: float) -> None:
    def jittery(usual_s: float, more_s: float, seed: int) -> CallTimes:
        drawn = random.Random(seed)
        told = [usual_s + 4 * US + more_s + abs(drawn.gauss(0.0, jitter_s)) for _ in range(43)]
        return CallTimes(usual_s, [BASE_S] * 43, [BASE_S] * 4, usual_s, told)

    found = [
        suspicion(jittery(2 * US, 2 * US, seed), jittery(6 * US, 0.0, 1000 + seed))._admits_it for seed in range(300)
    ]
    assert sum(found) <= 3


@pytest.mark.parametrize("in_pairs", [True, False])
def test_one_who_does_double_work_alone_is_found_with_and_without_pairs(in_pairs: bool) -> None:
    other = calls(1e-3, 1.02e-3, seed=2)
    assert suspicion(calls(1e-4, 1e-3), other, in_pairs=in_pairs).is_proved
    assert not suspicion(calls(1e-4, 1.3e-4), other, in_pairs=in_pairs).is_proved


def test_without_another_side_only_what_is_far_beyond_noise_counts() -> None:
    assert suspicion(calls(1e-4, 1e-3), None).is_proved
    assert not suspicion(calls(1e-4, 3e-4), None).is_proved


def test_what_was_not_measured_proves_nothing() -> None:
    mine, other = CallTimes(US, [], []), CallTimes(50 * US, [], [])
    assert mine.isolated_s is None
    for in_pairs in (True, False):
        assert not suspicion(mine, other, in_pairs=in_pairs).is_there
    assert mine.error_s == 0.0


def test_single_calls_of_who_batches_cost_at_least_what_the_honest_ones_do() -> None:
    """Whatever chance adds, and however many the null rounds beside them say too much."""
    other = calls(46 * US, 50 * US, seed=2)
    for seed in range(50):
        mine = calls(2 * US, 50 * US, seed=seed)
        biased = CallTimes(mine.usual_s, mine.alone_s, [one + 50 * US for one in mine.nulls_s])
        assert suspicion(biased, other).bound_s > 40 * US
    assert suspicion(calls(2 * US, 5 * US, inside=(2 * US, 49 * US)), other).bound_s >= 49 * US
    assert Suspicion(CallTimes(2 * US, [], []), None, 0.0, in_pairs=True).bound_s == 2 * US
