"""Statistics of samples, and which of two kernels they make the faster one."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.executor.timing import stats
from daemon.executor.timing.comparison import compare_speed


def test_statistics_are_the_usual_ones() -> None:
    found = stats.runtime_stats([3.0, 1.0, 2.0, 4.0])
    assert (found.mean, found.min, found.max, found.median) == (2.5, 1.0, 4.0, 2.5)
    assert found.std == pytest.approx(1.2909944)
    assert found.percentile_95 == pytest.approx(3.85)
    assert stats.relative_standard_error([1.0]) is None
    assert stats.relative_standard_error([2.0, 2.0]) == 0
    assert stats.relative_standard_error([1.0, 2.0, 3.0]) == pytest.approx(0.2886751)
    assert stats.fit_line([(1, 3.0), (2, 5.0), (3, 7.0)]) == pytest.approx((1.0, 2.0))
    assert stats.fit_line([(2, 3.0), (2, 5.0)]) == (4.0, 0.0)


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 0.0), (0.375, 5.5), (0.5, 10.0), (0.75, 20.0), (0.9, 38.0), (1.0, 50.0)]
)
def test_a_percentile_lies_between_the_two_samples_beside_its_place(share: float, value: float) -> None:
    assert stats.percentile([0.0, 1.0, 10.0, 20.0, 50.0], share) == pytest.approx(value)


def timing(samples: list[float]) -> Any:
    from daemon.evaluation import Timing

    return Timing(
        stats=stats.runtime_stats(samples), interval_ms=(min(samples), stats.percentile(sorted(samples), 0.75)),
        mode="stream", samples_ms=tuple(samples), calls=(1,) * len(samples),
        c0_us=0, c0_slope_us=0, rse=stats.relative_standard_error(samples), target_rse=0.005, stop="precision",
    )  # fmt: skip


def test_faster_needs_intervals_apart() -> None:
    slow, fast, wide = timing([2.0, 2.001, 2.002]), timing([1.0, 1.001, 1.002]), timing([0.5, 2.0, 3.0])
    assert [compare_speed(*pair).value for pair in ((fast, slow), (slow, fast), (slow, slow), (slow, wide))] == [
        "faster", "slower", "same", "cannot_tell",
    ]  # fmt: skip
