"""What was measured of one side: rounds, and what rounds cost without a kernel."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from daemon.executor.timing import stats
from daemon.executor.timing.conditions import UNKNOWN, Reading

FEWEST_ROUNDS = 5
CLOCK_TICK_S = 1e-9


@dataclass(frozen=True)
class Round:
    """One timed round of one side. `inside_s`: the cell's own claim. `woken`: by how many calls it was woken up before,
    and how many seconds they took."""

    calls: int
    wall_s: float
    inside_s: float | None = None
    reading: Reading = UNKNOWN
    woken: tuple[int, float] | None = None


@dataclass
class Series:
    """What was measured of one side. `alone`: rounds of one call; `alone_null`: what rounds of none cost beside them.
    `equal`: rounds with one content in every slot; `unlike`: rounds beside them, of as many calls on different ones.
    `called`: rounds timed call by call of a kernel that is otherwise timed as a graph; `called_null` without a kernel.
    `null`: (calls, seconds) of what rounds cost without a kernel on the same arena; `copying`, `touch`: of what copying
    an answer into every slot takes, and launching the smallest of kernels for each."""

    rounds: list[Round] = field(default_factory=list)
    alone: list[Round] = field(default_factory=list)
    alone_null: list[float] = field(default_factory=list)
    touch: list[tuple[int, float]] = field(default_factory=list)
    equal: list[Round] = field(default_factory=list)
    unlike: list[Round] = field(default_factory=list)
    called: list[Round] = field(default_factory=list)
    called_null: list[tuple[int, float]] = field(default_factory=list)
    null: list[tuple[int, float]] = field(default_factory=list)
    copying: list[tuple[int, float]] = field(default_factory=list)


@dataclass(frozen=True)
class NullCost:
    """What a round costs without a kernel: intercept and slope (seconds), and how far null rounds scatter around the
    line."""

    base_s: float
    per_call_s: float
    scatter_s: float

    def of(self, calls: int) -> float:
        return self.base_s + self.per_call_s * calls

    @classmethod
    def through(cls, rounds: Sequence[tuple[int, float]]) -> NullCost:
        """A line that outliers do not move, because null rounds are disturbed like any others."""
        base_s, per_call_s = stats.robust_line([(float(calls), wall_s) for calls, wall_s in rounds])
        if per_call_s < 0:
            base_s, per_call_s = stats.interquartile_mean([wall_s for _, wall_s in rounds]), 0.0
        scatter = statistics.median(abs(wall_s - base_s - per_call_s * calls) for calls, wall_s in rounds)
        return cls(base_s, per_call_s, scatter)


def kept(all_series: Sequence[Series]) -> list[int]:
    """Which rounds count, by number: those in which no side's device was slowed down to protect it. All, if too few
    would be left."""
    count = len(all_series[0].rounds)
    calm = [number for number in range(count) if not any(series.rounds[number].reading.slowed for series in all_series)]
    return calm if len(calm) >= FEWEST_ROUNDS else list(range(count))
