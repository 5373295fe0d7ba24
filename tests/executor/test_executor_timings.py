"""From wall clocks to figures: what is subtracted, what is dropped, what is labelled."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from daemon.evaluation import Timing
from daemon.executor.timing import stats
from daemon.executor.timing.comparison import compare_speed
from daemon.executor.timing.conditions import Reading
from daemon.executor.timing.figures import Account
from daemon.executor.timing.measure import so_far
from daemon.executor.timing.series import NullCost, Round, Series, kept
from daemon.executor.timing.sizing import MeasureRules
from daemon.verdict import Comparison

BASE_S, CALL_S = 1e-3, 2e-5
SLOWED = Reading(sm_mhz=900.0, slowed=("hardware, thermal",))


def rounds(per_call_s: float = CALL_S, *, extra_s: float = 0.0, reading: Reading | None = None) -> list[Round]:
    sizes = (64, 100, 80, 128, 90, 70)
    known = reading or Reading(sm_mhz=1800.0)
    return [Round(n, BASE_S + extra_s + n * per_call_s * (1 + k * 1e-4), None, known) for k, n in enumerate(sizes)]


def series(per_call_s: float = CALL_S, *, alone_s: float | None = None, **more: float) -> Series:
    alone = per_call_s if alone_s is None else alone_s
    return Series(
        rounds=rounds(per_call_s, **more),
        alone=[Round(1, BASE_S + alone)] * 5,
        alone_null=[BASE_S] * 5,
        null=[(n, BASE_S) for n in (1, 64, 128)] * 3,
    )


def account(one: Series, peer: Account | None = None) -> Account:
    return Account(one, kept([one]), returns=False, subtracts_copy=False, noise_s=2e-6, peer=peer)


def labels(one: Series, peer: Account | None = None) -> set[str]:
    return set(timing(one, peer).labels)


def timing(one: Series, peer: Account | None = None):  # type: ignore[no-untyped-def]
    return account(one, peer).timing(mode="graph", stop="precision", target_rse=0.005, footprint_bytes=1)


def test_what_a_round_costs_without_a_kernel_is_subtracted() -> None:
    one = timing(series())
    assert one.stats.median == pytest.approx(CALL_S * 1e3, rel=1e-3)
    assert one.interval_ms[0] == one.stats.min
    assert one.interval_ms[0] <= one.interval_ms[1] <= one.stats.max
    assert one.labels == ()


def test_one_disturbed_null_round_moves_nothing() -> None:
    points = [(n, BASE_S + n * 1e-7) for n in (1, 50, 100)] * 3
    calm, disturbed = NullCost.through(points), NullCost.through([*points[:-1], (100, 50 * BASE_S)])
    assert disturbed.base_s == pytest.approx(calm.base_s, rel=0.01)
    assert disturbed.per_call_s == pytest.approx(calm.per_call_s, rel=0.1)


def test_rounds_in_which_the_hardware_slowed_itself_down_are_dropped_and_counted() -> None:
    one = series()
    one.rounds += rounds(3 * CALL_S, reading=SLOWED)
    shown = timing(one)
    assert (shown.dropped_rounds, len(shown.samples_ms)) == (6, 6)
    assert shown.stats.max < 1.01 * CALL_S * 1e3
    assert "throttled" not in shown.labels


def test_where_hardly_a_round_was_calm_all_count_and_the_label_says_so() -> None:
    one = series()
    one.rounds = rounds(reading=SLOWED)[:5] + one.rounds[:3]
    shown = timing(one)
    assert (shown.dropped_rounds, len(shown.samples_ms)) == (0, 8)
    assert "throttled" in shown.labels


def test_a_round_of_one_side_is_dropped_with_the_others() -> None:
    calm, hot = series(), series()
    hot.rounds[2] = Round(80, 1.0, None, SLOWED)
    hot.rounds.append(hot.rounds[0])
    calm.rounds.append(calm.rounds[0])
    assert kept([calm, hot]) == [0, 1, 3, 4, 5, 6]


def test_a_call_that_does_the_work_of_its_neighbours_is_labelled() -> None:
    honest = account(series(10 * CALL_S, alone_s=11 * CALL_S))
    assert "batched" in labels(series(CALL_S, alone_s=10 * CALL_S), honest)
    assert "batched" not in labels(series(CALL_S, alone_s=2.4 * CALL_S), honest)


def test_who_does_the_work_of_its_neighbours_in_every_second_round_is_labelled_too() -> None:
    """Half as fast as the honest kernel in the others, by the mean four times as fast."""
    honest = account(series(10 * CALL_S, alone_s=11 * CALL_S))
    now_and_then = series(5 * CALL_S, alone_s=9 * CALL_S)
    assert "batched" not in labels(now_and_then, honest)
    now_and_then.rounds[::2] = rounds(CALL_S / 10)[::2]
    now_and_then.rounds.append(rounds(5 * CALL_S)[0])
    assert "batched" in labels(now_and_then, honest)
    disturbed = series(5 * CALL_S, alone_s=9 * CALL_S)
    disturbed.rounds[::2] = rounds(20 * CALL_S)[::2]
    disturbed.rounds.append(rounds(5 * CALL_S)[0])
    assert account(disturbed).usual_s == pytest.approx(5 * CALL_S, rel=1e-3)


def test_half_of_what_is_called_batched_is_worth_a_closer_look() -> None:
    honest = account(series(10 * CALL_S, alone_s=11 * CALL_S))
    suspicious = account(series(CALL_S, alone_s=2.4 * CALL_S), honest)
    assert (suspicious.is_batched, suspicious.may_be_batched) == (False, True)
    assert not account(series(CALL_S, alone_s=1.2 * CALL_S), honest).may_be_batched


def test_what_null_rounds_of_one_call_scatter_by_is_nobodys_doing() -> None:
    honest = account(series(10 * CALL_S, alone_s=11 * CALL_S))
    scattered = series(CALL_S, alone_s=4 * CALL_S)
    assert "batched" in labels(scattered, honest)
    scattered.alone_null = [BASE_S - 3 * CALL_S, BASE_S, BASE_S + 3 * CALL_S] * 2
    assert "batched" not in labels(scattered, honest)
    scattered.alone *= 200
    scattered.alone_null *= 200
    many = series(10 * CALL_S, alone_s=11 * CALL_S)
    many.alone *= 200
    assert "batched" in labels(scattered, account(many)), "many rounds tell"


def test_where_calls_alone_do_not_tell_the_figure_is_theirs_and_nothing_is_ranked() -> None:
    busy, honest = series(CALL_S, alone_s=10 * CALL_S), series(10 * CALL_S, alone_s=10 * CALL_S)
    for one in (busy, honest):
        one.alone = [Round(1, one.alone[0].wall_s + late * CALL_S) for late in (0, 90, 5, 40, 1)]
    shown, reference = timing(busy, account(honest)), timing(honest)
    assert "alone_unclear" in shown.labels and "batched" not in shown.labels
    assert shown.stats.min >= 9 * CALL_S * 1e3
    assert shown.back_to_back_ms == pytest.approx(CALL_S * 1e3, rel=0.01)
    assert compare_speed(shown, reference) is Comparison.CANNOT_TELL
    assert "alone_unclear" not in timing(honest, account(busy)).labels
    assert not replace(account(busy, account(honest)), is_suspect=False).is_unclear


def test_what_gains_nothing_by_it_is_not_called_batched() -> None:
    faster = account(series(CALL_S / 2))
    assert "batched" not in labels(series(CALL_S, alone_s=50 * CALL_S), faster)


def test_calls_cheaper_than_a_kernels_launch_have_none_of_their_own() -> None:
    one = series(2e-7)
    one.touch = [(128, 128 * 8e-7)] * 3
    assert "batched" in labels(one)


def test_where_a_launch_cannot_be_told_from_nothing_a_call_that_seems_to_cost_less_accuses_nobody() -> None:
    """Nor does it gain anything: the figure is that of single calls."""
    one = series(2e-7, alone_s=8e-6)
    one.touch = [(128, 128 * 8e-7)] * 3
    one.null = [(n, BASE_S + late_s) for n in (1, 64, 128) for late_s in (-1e-4, 0.0, 1e-4)]
    shown = timing(one)
    assert {"below_resolution", "alone_unclear"} <= set(shown.labels) and "batched" not in shown.labels
    assert shown.stats.min == pytest.approx(8e-3)
    one.touch = [(128, 128 * 8e-6)] * 3
    assert "batched" in labels(one), "a launch that can be told from nothing costs more"


def test_equal_contents_that_cost_less_show_a_cache() -> None:
    one = series()
    one.equal = [Round(128, BASE_S + 128 * CALL_S / 10)] * 3
    assert "content_cache" in labels(one)
    one.unlike = [Round(128, BASE_S + 128 * CALL_S * 0.99)] * 2
    assert "content_cache" in labels(one)
    one.unlike = [Round(128, BASE_S + 128 * CALL_S / 10)] * 2
    assert "content_cache" not in labels(one), "different ones cost as little by then"
    one.unlike = []
    one.equal = [Round(128, BASE_S + 128 * CALL_S * 0.99)] * 3
    assert "content_cache" not in labels(one)


def test_equal_contents_that_cost_the_other_side_less_as_well_show_no_cache() -> None:
    """torch.sort of 1500 numbers takes 0.4 of the time where it has just sorted the same ones."""
    one, other = series(), series()
    other.equal = [Round(128, BASE_S + 128 * CALL_S * 0.4)] * 3
    one.equal = [Round(128, BASE_S + 128 * CALL_S * 0.35)] * 3
    assert "content_cache" in labels(one)
    assert "content_cache" not in labels(one, account(other))
    for share in (0.4, 0.01):  # a reference that remembers excuses nobody
        other.equal = [Round(128, BASE_S + 128 * CALL_S * share)] * 3
        one.equal = [Round(128, BASE_S + 128 * CALL_S / 10)] * 3
        assert "content_cache" in labels(one, account(other))


def test_one_round_alone_tells_of_a_cache_too() -> None:
    """Of a kernel so slow that its time was over after the first."""
    one = series()
    one.rounds, one.equal = one.rounds[:1], [Round(128, BASE_S + 128 * CALL_S / 10)]
    assert {"content_cache", "few_rounds"} <= labels(one)


def test_launching_that_takes_longer_than_running_is_labelled() -> None:
    one = series()
    one.called = [Round(64, BASE_S + 64 * 5 * CALL_S)] * 3
    one.called_null = [(64, BASE_S)] * 3
    shown = timing(one)
    assert "launch_bound" in shown.labels
    assert shown.launched_ms == pytest.approx(5 * CALL_S * 1e3)


def woken(one: Series, *took_s: float) -> Series:
    """The same, woken up before each round by calls that took so long beyond what four of them do in rounds."""
    waking = (BASE_S + 4 * CALL_S + more_s for more_s in itertools.cycle(took_s))
    one.rounds = [replace(each, woken=(4, took)) for each, took in zip(one.rounds, waking, strict=False)]
    return one


def labels_on(device: str, one: Series, peer: Account) -> set[str]:
    account_there = replace(account(one, peer), in_pairs=device == "cuda")
    return set(account_there.timing(mode="stream", stop="time", target_rse=0.01, footprint_bytes=1).labels)


def test_what_goes_by_in_waking_a_cell_up_counts_where_it_is_much_of_the_round() -> None:
    calm = account(woken(series(), 1e-3))
    busy = timing(woken(series(), 0.05), calm)
    assert "prepared" in busy.labels
    assert busy.stats.median == pytest.approx((CALL_S + 0.049 * 6 / 532) * 1e3, rel=0.01)
    assert busy.interval_ms[0] > 10 * CALL_S * 1e3
    idle = timing(woken(series(), 2e-3), calm)
    assert "prepared" not in idle.labels
    assert idle.stats.median == timing(series(), calm).stats.median
    round_s = 532 / 6 * 5e-4
    for device, least in (("cuda", 0.5), ("cpu", 0.25)):
        assert "prepared" not in labels_on(device, woken(series(5e-4), (least - 0.1) * round_s), calm)
        assert "prepared" in labels_on(device, woken(series(5e-4), (least + 0.2) * round_s), calm)
    assert "prepared" in labels(woken(series(), 0.05)) and "prepared" not in labels(woken(series(), 0.015))
    alone = account(woken(series(), 0.05))
    assert alone.ahead_s > 0
    assert replace(alone, stopping_s=0.04).ahead_s == 0, "as long as it takes to stop any cell here"


def test_who_is_slow_alone_does_not_hide_in_that_what_goes_by_in_waking_it_up() -> None:
    calm, honest = account(woken(series(), 1e-3)), account(woken(series(), 0.05))
    slow_alone = woken(series(alone_s=CALL_S + 0.05 / 4), 0.05)
    assert account(slow_alone).ahead_s == honest.ahead_s > 0
    assert account(slow_alone, calm).ahead_s == replace(honest, peer=calm).ahead_s > 0
    cold = account(woken(series(alone_s=CALL_S + 0.05 / 4), 1e-3))
    assert replace(honest, peer=replace(cold, is_suspect=False)).ahead_s == 0, "the other side is as cold"


def test_a_busy_cpu_may_wake_a_cell_up_late() -> None:
    late, calm = woken(series(), 7e-3), account(woken(series(), 1e-3))
    assert "prepared" in labels_on("cuda", late, calm)
    assert "prepared" not in labels_on("cpu", late, calm)


def test_what_holds_up_both_sides_or_one_round_or_any_is_not_taken_for_work_ahead() -> None:
    busy, calm = woken(series(), 0.5), account(woken(series(), 1e-3))
    assert "prepared" in labels(busy, calm)
    assert "prepared" not in labels(busy, account(woken(series(), 0.5)))
    assert "prepared" not in labels(woken(series(), *[1e-3] * 5, 5.0), calm)
    now_and_then = woken(series(), 1e-4, 0.3, 0.02, 1e-4, 1e-4, 0.2)
    assert "prepared" in labels(now_and_then, calm)
    assert "prepared" not in labels(now_and_then, account(woken(series(), 1e-4, 0.2, 0.02, 1e-4, 1e-4, 0.1)))
    assert replace(account(busy), is_suspect=False).ahead_s == 0
    busy.rounds = busy.rounds[:4]
    assert "prepared" in labels(busy, calm)
    assert "prepared" not in labels(woken(busy, 0.5, 0.5, 1e-3, 0.5), calm)


def test_rounds_that_cost_something_their_calls_do_not_explain_lie_off_the_line() -> None:
    assert "off_the_line" in labels(series(extra_s=BASE_S))


def test_few_rounds_that_scatter_are_not_off_the_line() -> None:
    """Five of them tell little of where their line begins: three honest kernels of fifty were labelled on a GPU."""
    scattered = series()
    apart_s = (9e-5, 4e-5, 3e-5, -6e-5, -6e-5)
    sizes = (10, 12, 15, 17, 20)
    scattered.rounds = [Round(n, BASE_S + n * CALL_S + off) for n, off in zip(sizes, apart_s, strict=True)]
    assert "off_the_line" not in labels(scattered)


def test_a_sample_can_be_worked_out_again_from_what_is_kept() -> None:
    one = series()
    one.null = [(n, BASE_S + n * 1e-7) for n in (1, 64, 128) * 3]
    shown = timing(one)
    assert shown.nulls == tuple((calls, pytest.approx(cost_s * 1e3)) for calls, cost_s in one.null)
    c0 = NullCost.through([(calls, wall_ms / 1e3) for calls, wall_ms in shown.nulls])
    for sample_ms, calls, wall_ms in zip(shown.samples_ms, shown.calls, shown.walls_ms, strict=True):
        assert sample_ms == pytest.approx((wall_ms - c0.of(calls) * 1e3) / calls)


def test_a_disturbed_null_round_hides_nothing() -> None:
    hidden = series(extra_s=BASE_S)
    hidden.null = [(n, BASE_S + k % 3 * 1e-6) for k, n in enumerate((64, 128) * 10)]
    hidden.null[3] = (128, 3.5 * BASE_S)
    assert "off_the_line" in labels(hidden)


@pytest.mark.parametrize(("chance", "freedom", "sigmas"), [(0.05, 7, 2.365), (0.05, 10, 2.228), (1e-4, 3, 28.0)])
def test_students_distribution_is_that_of_the_tables(chance: float, freedom: int, sigmas: float) -> None:
    assert stats.student_quantile(chance, freedom) == pytest.approx(sigmas, rel=1e-3)


def test_times_alone_do_not_make_a_kernel_faster_when_the_clocks_differed() -> None:
    slow_clock = series(CALL_S)
    slow_clock.rounds = rounds(CALL_S, reading=Reading(sm_mhz=900.0))
    fast_clock = series(CALL_S * 0.6)
    fast_clock.rounds = rounds(CALL_S * 0.6, reading=Reading(sm_mhz=1800.0))
    assert compare_speed(timing(fast_clock), timing(slow_clock)) is Comparison.CANNOT_TELL
    assert compare_speed(timing(series(CALL_S / 2)), timing(series())) is Comparison.FASTER
    scattered = timing(series(CALL_S / 2)).model_copy(update={"rse": 0.2})
    assert compare_speed(scattered, timing(series())) is Comparison.CANNOT_TELL
    far = timing(series(CALL_S / 100)).model_copy(update={"rse": 0.2})
    assert compare_speed(far, timing(series())) is Comparison.FASTER
    assert compare_speed(timing(series()), far) is Comparison.SLOWER


def test_of_few_rounds_every_one_has_to_be_below_the_other_sides() -> None:
    """Four of five are, by chance, in one of forty comparisons of equal kernels."""
    slow = [CALL_S * 1e3 * factor for factor in (1.0, 1.01, 1.02, 1.03, 1.04)]
    five = [CALL_S * 1e3 * factor for factor in (0.9, 0.91, 0.92, 0.93, 1.02)]

    def timed(samples_ms: list[float]) -> Timing:
        figures = {"samples_ms": tuple(samples_ms), "interval_ms": stats.telling_interval(sorted(samples_ms))}
        return timing(series()).model_copy(update={**figures, "stats": stats.runtime_stats(samples_ms)})

    assert compare_speed(timed(five), timed(slow)) is not Comparison.FASTER
    assert compare_speed(timed(five[:4] * 2), timed(slow)) is Comparison.FASTER
    assert compare_speed(timed(five[:4] * 2 + five[4:]), timed(slow)) is Comparison.FASTER


def test_a_mean_that_one_round_has_moved_past_the_other_side_decides_nothing() -> None:
    quick = timing(series(CALL_S * 0.9))
    assert compare_speed(quick, timing(series())) is Comparison.FASTER
    moved = quick.model_copy(update={"stats": quick.stats.model_copy(update={"mean": CALL_S * 1e3 * 1.01})})
    assert compare_speed(moved, timing(series())) is Comparison.CANNOT_TELL


def test_what_a_cell_could_save_of_a_round_makes_no_kernel_faster() -> None:
    """60 us a round: 0.7 us of a call in rounds of 85."""
    reference = timing(series(CALL_S))
    assert compare_speed(timing(series(CALL_S - 5e-7)), reference) is Comparison.CANNOT_TELL
    assert compare_speed(timing(series(CALL_S - 2e-6)), reference) is Comparison.FASTER
    assert compare_speed(timing(series(CALL_S + 5e-7)), reference) is Comparison.SLOWER


def test_what_copying_costs_is_that_of_a_call() -> None:
    one = series()
    one.copying = [(128, 128 * 3e-6)] * 3
    assert account(one).copy_s == pytest.approx(3e-6)
    assert account(series()).copy_s is None


def test_nothing_is_faster_below_the_resolution() -> None:
    tiny = series(1e-12)
    tiny.null = [(n, BASE_S + k % 3 * 1e-5) for k, n in enumerate((1, 64, 128) * 3)]
    shown = timing(tiny)
    assert "below_resolution" in shown.labels
    assert compare_speed(shown, timing(series())) is Comparison.CANNOT_TELL


def test_the_middle_half_decides() -> None:
    assert stats.interquartile_mean([1.0, 2.0, 3.0, 1000.0]) == 2.5
    assert stats.robust_line([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 700.0)])[1] == pytest.approx(2.0, abs=200)
    assert stats.intercept_error([(1.0, 1.0), (2.0, 2.0)]) is None
    assert stats.intercept_error([(1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]) == pytest.approx(0.0, abs=1e-12)


def test_the_figure_of_what_batches_is_that_of_single_calls_at_most() -> None:
    honest = account(series(10 * CALL_S, alone_s=11 * CALL_S))
    shown = timing(series(CALL_S, alone_s=10 * CALL_S), honest)
    assert "batched" in shown.labels
    assert shown.stats.min == pytest.approx(10 * CALL_S * 1e3)
    assert shown.back_to_back_ms == pytest.approx(CALL_S * 1e3, rel=1e-3)
    assert set(shown.calls) == {1}
    assert timing(series(), honest).back_to_back_ms is None


def test_by_chance_single_calls_do_not_look_cheaper_than_they_are() -> None:
    honest = account(series(10 * CALL_S, alone_s=11 * CALL_S))
    lucky = series(CALL_S, alone_s=20 * CALL_S)
    lucky.alone_null = [BASE_S - 3 * CALL_S, BASE_S, BASE_S + 3 * CALL_S]
    lucky.alone[0] = Round(1, BASE_S)
    shown = timing(lucky, honest)
    assert "batched" in shown.labels
    assert shown.stats.min == pytest.approx((20 * CALL_S + account(lucky).calls.error_s) * 1e3)
    assert shown.stats.max == shown.stats.min


def test_to_be_under_suspicion_does_not_pay() -> None:
    """A call alone may cost less than one of many: it has the caches to itself. Its cell says otherwise, on purpose,
    and has that counted."""
    slower = account(series(1.1 * CALL_S, alone_s=1.1 * CALL_S))
    sly = series(CALL_S, alone_s=CALL_S / 2)
    sly.rounds = [Round(one.calls, one.wall_s, one.calls * CALL_S) for one in sly.rounds]
    sly.alone = [Round(1, one.wall_s, 50 * CALL_S) for one in sly.alone] * 9
    slower.series.alone *= 9
    shown = Account(sly, kept([sly]), False, False, 2e-6, True, peer=replace_inside(slower)).timing(
        mode="graph", stop="precision", target_rse=0.005, footprint_bytes=1
    )
    assert "batched" in shown.labels
    assert shown.stats.min == pytest.approx(50 * CALL_S * 1e3)
    assert shown.back_to_back_ms == pytest.approx(CALL_S * 1e3, rel=1e-3)


def replace_inside(one: Account) -> Account:
    """The same with words of its cell: a call alone takes what one of many does."""
    for rounds_ in (one.series.rounds, one.series.alone):
        rounds_[:] = [Round(each.calls, each.wall_s, each.calls * CALL_S) for each in rounds_]
    return one


def test_a_reference_is_not_suspected_whatever_the_other_side_says_and_does() -> None:
    """A candidate that is a little slower, and whose cell does not say what a call alone takes."""
    candidate = account(series(1.02 * CALL_S, alone_s=1.02 * CALL_S))
    reference = series(CALL_S, alone_s=30 * CALL_S)
    reference.alone = [Round(1, one.wall_s, 30 * CALL_S) for one in reference.alone] * 9
    candidate.series.alone *= 9
    for in_pairs in (True, False):
        as_reference = Account(
            reference, kept([reference]), False, False, 2e-6, in_pairs, is_suspect=False, peer=candidate
        )
        shown = as_reference.timing(mode="graph", stop="precision", target_rse=0.005, footprint_bytes=1)
        assert "batched" not in shown.labels
        assert shown.back_to_back_ms is None
        assert shown.stats.median == pytest.approx(CALL_S * 1e3, rel=1e-3)
        assert not as_reference.may_be_batched
        assert replace(as_reference, is_suspect=True).is_batched


def test_a_gain_that_not_copying_explains_is_labelled() -> None:
    """A kernel can find the slot in its caller's frame, write its answer there and return that."""

    def returning(call_s: float, peer: Account | None = None) -> Account:
        one = replace(series(call_s), copying=[(100, 100 * CALL_S / 4)] * 3)
        return replace(account(one, peer), returns=True)

    reference = returning(CALL_S)
    for share, is_labelled in ((1.0, False), (1.1, False), (0.8, True), (0.75, True), (0.4, False)):
        shown = returning(share * CALL_S, reference).timing(
            mode="stream", stop="precision", target_rse=0.005, footprint_bytes=1
        )
        assert ("within_copy" in shown.labels) is is_labelled, share
    assert "within_copy" not in labels(series(0.8 * CALL_S), reference), "it returns nothing"


@pytest.mark.parametrize(
    ("rse", "said"),
    [(None, "timing: after 0.7 s"), (0.0123, "timing: ± 1.2 % after 0.7 s"), (1.234, "timing: ± 120 % after 0.7 s")],
)
def test_who_waits_is_told_how_precise_it_is_and_what_ends_it(rse: float | None, said: str) -> None:
    rules = MeasureRules(max_s=2.0, target_rse=0.003, min_rounds=5, min_calls=100, max_calls=100, arena_bytes=1)
    assert so_far(rse, 0.71, rules) == f"{said}, ends at ± 0.3 % or 2 s"
