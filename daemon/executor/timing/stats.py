"""Numbers from samples. No torch, no clock."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence

from daemon.evaluation import RuntimeStats

_SIGMA_OF_MEDIAN = 1.4826  # a normal distribution's standard deviation over its median absolute deviation
_ERROR_OF_MEDIAN = 1.2533  # and the standard error of its median over that of its mean
_ENOUGH_FOR_QUARTILES = 8
_HALVINGS = 50
_PAIRED = 200


def runtime_stats(samples_ms: Sequence[float]) -> RuntimeStats:
    """The usual statistics; percentiles interpolate linearly (type 7, as numpy)."""
    ordered = sorted(samples_ms)
    return RuntimeStats(
        mean=statistics.fmean(ordered),
        std=statistics.stdev(ordered) if len(ordered) > 1 else 0.0,
        min=ordered[0],
        max=ordered[-1],
        median=statistics.median(ordered),
        percentile_95=percentile(ordered, 0.95),
        percentile_99=percentile(ordered, 0.99),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of `ordered` (ascending) lies."""
    position = share * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def telling_interval(ordered: Sequence[float]) -> tuple[float, float]:
    """What two kernels are compared by: the minimum and the third quartile; of few samples the maximum. Of two equal
    kernels with five samples each, one has four that are below all of the other's in one case of twenty, and five in
    one of a hundred and twenty."""
    return ordered[0], ordered[-1] if len(ordered) < _ENOUGH_FOR_QUARTILES else percentile(ordered, 0.75)


def relative_standard_error(samples: Sequence[float]) -> float | None:
    """Standard error of the mean over the mean; None below two samples or at a mean of zero."""
    if len(samples) < 2 or (mean := statistics.fmean(samples)) == 0:  # noqa: PLR2004
        return None
    return statistics.stdev(samples) / math.sqrt(len(samples)) / abs(mean)


def fit_line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Least squares `y = intercept + slope * x`; a slope of 0 when all x are equal."""
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if spread == 0:
        return mean_y, 0.0
    slope = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return mean_y - slope * mean_x, slope


def interquartile_mean(values: Sequence[float]) -> float:
    """The mean of the middle half: as steady as a median, and no step between two samples."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    return statistics.fmean(ordered[cut : len(ordered) - cut])


def robust_line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Intercept and slope that single outliers do not move: the median slope over all pairs of points (Theil 1950, Sen
    1968), and the interquartile mean of the residuals. A slope of 0 when all x are equal."""
    pairs = itertools.combinations(_spread(points), 2)
    slopes = [(y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in pairs if x1 != x2]
    slope = statistics.median(slopes) if slopes else 0.0
    return interquartile_mean([y - slope * x for x, y in points]), slope


def _spread(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """As many of them as can be paired in some milliseconds, evenly from the first to the last of each x."""
    if len(points) <= _PAIRED:
        return list(points)
    by_x: dict[float, list[tuple[float, float]]] = {}
    for point in points:
        by_x.setdefault(point[0], []).append(point)
    each = max(1, _PAIRED // len(by_x))
    return [point for some in by_x.values() for point in some[:: -(-len(some) // each)]]


def intercept_error(points: Sequence[tuple[float, float]], deviation: float | None = None) -> float | None:
    """Standard error of the intercept of `fit_line`; None where three points of different x are missing. `deviation`:
    of the points from the line, where it is known from elsewhere."""
    count = len(points)
    mean_x = statistics.fmean(x for x, _ in points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    if count < 3 or spread == 0:  # noqa: PLR2004
        return None
    if deviation is None:
        intercept, slope = fit_line(points)
        deviation = math.sqrt(sum((y - intercept - slope * x) ** 2 for x, y in points) / (count - 2))
    return deviation * math.sqrt(1 / count + mean_x**2 / spread)


def student_quantile(chance: float, freedom: int) -> float:
    """How many standard errors, estimated with `freedom` degrees of freedom, a normal mean is off with this two-sided
    probability only. For 1e-4: 3.9 where the error is known well, 28 where five points on a line tell it.

    The distribution in its closed form for whole degrees of freedom (Abramowitz and Stegun 26.7.3, 26.7.4), bisected.
    """

    def beyond(t: float) -> float:
        angle = math.atan(t / math.sqrt(freedom))
        term, total = 1.0, 0.0
        for number in range(1 if freedom % 2 else 0, freedom - 1, 2):
            total += term * math.cos(angle) ** number
            term *= (number + 1) / (number + 2)
        inside = math.sin(angle) * total
        return 1 - (2 / math.pi * (angle + inside) if freedom % 2 else inside)

    low, high = 0.0, 1.0
    while beyond(high) > chance:
        high *= 2
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if beyond(middle) > chance else (low, middle)
    return high


def robust_deviation(values: Sequence[float]) -> float:
    """The standard deviation of what outliers have been added to: from the median absolute deviation. 0 of nothing."""
    if not values:
        return 0.0
    middle = statistics.median(values)
    return _SIGMA_OF_MEDIAN * statistics.median(abs(one - middle) for one in values)


def median_error(values: Sequence[float], least: float) -> float:
    """The standard error of the median of some normal values. They are taken to scatter by `least` at least, because a
    few of them can lie close together by chance."""
    return error_of_median(max(robust_deviation(values), least), len(values))


def error_of_median(deviation: float, count: int) -> float:
    """The standard error of the median of so many normal values."""
    return _ERROR_OF_MEDIAN * deviation / math.sqrt(count)
