"""Is the candidate faster? One side's timing held against the other's. Pure arithmetic."""

from __future__ import annotations

import statistics

from daemon.evaluation import Timing
from daemon.executor.timing import stats
from daemon.verdict import Comparison

APART = 0.005  # of a time: what two intervals must be apart by to be told from each other
_FAR_APART = 0.5
_TELLING_RSE = 0.1  # of a mean that says something
_UNTOLD = {"below_resolution", "alone_unclear"}  # labels of figures of which nobody knows what they would be
_SAVABLE_S = 1e-4  # what reading the word "go", launching and answering take in Python, and being heard, about


def compare_speed(candidate: Timing, reference: Timing) -> Comparison:
    """Faster or slower, the same, or cannot tell.

    - Faster or slower: the intervals [min, q3] (of few rounds [min, max]) are apart by half a percent, in time, and in
      clock cycles where the clocks are known, and the means with them. Where rounds scatter so much that chance may
      have put them apart, by a factor of two.
    - The same: they overlap and are tight.
    - Cannot tell: otherwise; below the resolution, and where calls may share their work. Nor is a kernel faster by no
      more than a cell could save of what a round costs: that is not the kernel's doing.
    """
    both = (candidate, reference)
    errors = [timing.rse for timing in both if timing.rse is not None]
    if len(errors) < len(both) or any(_UNTOLD & {*timing.labels} for timing in both):
        return Comparison.CANNOT_TELL
    gap = _FAR_APART if max(errors) > _TELLING_RSE else APART
    verdicts = {_apart(candidate.interval_ms, reference.interval_ms, gap)}
    cycles = [_in_cycles(timing) for timing in both]
    if cycles[0] is not None and cycles[1] is not None:
        verdicts.add(_apart(cycles[0], cycles[1], gap))
    if len(verdicts) > 1:
        return Comparison.CANNOT_TELL
    [verdict] = verdicts
    if verdict is Comparison.FASTER and _gained_ms(candidate, reference) < _savable_ms(candidate):
        return Comparison.CANNOT_TELL
    if verdict is not None and (verdict is Comparison.FASTER) != (candidate.stats.mean < reference.stats.mean):
        return Comparison.CANNOT_TELL
    if verdict is not None:
        return verdict
    tight = all(error <= 2 * timing.target_rse for error, timing in zip(errors, both, strict=True))
    return Comparison.SAME if tight else Comparison.CANNOT_TELL


def speedup(candidate: Timing, reference: Timing) -> float | None:
    """How many times as long the reference takes, by the means; None where the candidate's is below nothing."""
    return reference.stats.mean / candidate.stats.mean if candidate.stats.mean > 0 else None


def _gained_ms(candidate: Timing, reference: Timing) -> float:
    return reference.interval_ms[0] - candidate.interval_ms[1]


def _savable_ms(timing: Timing) -> float:
    """Per call, of a round that is the launch of a graph."""
    return _SAVABLE_S * 1e3 / statistics.median(timing.calls) if timing.mode == "graph" and timing.calls else 0.0


def _apart(ours: tuple[float, float], theirs: tuple[float, float], gap: float) -> Comparison | None:
    if ours[1] < theirs[0] * (1 - gap):
        return Comparison.FASTER
    if theirs[1] < ours[0] * (1 - gap):
        return Comparison.SLOWER
    return None


def _in_cycles(timing: Timing) -> tuple[float, float] | None:
    """The interval in thousands of cycles of the SM clock; None where the clock of a round is not known."""
    if len(timing.sm_mhz) != len(timing.samples_ms):
        return None
    return stats.telling_interval(sorted(ms * mhz for ms, mhz in zip(timing.samples_ms, timing.sm_mhz, strict=True)))
