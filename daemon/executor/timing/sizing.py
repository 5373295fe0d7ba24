"""How many calls a timed round has, and whether rounds are launches of CUDA graphs.

Theory of operation: a few calls tell about what one takes. Then rounds are made so long that what a round costs by
itself is small in comparison, and no longer than memory, and the time to make and check contents, allow. A kernel may
turn out to be faster in the rounds that count; then they are made longer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from daemon.executor.content.drawing import Drawer
from daemon.executor.timing.calibration import Calibration
from daemon.executor.timing.nulls import Nulls
from daemon.executor.timing.round_turns import RoundTurns
from daemon.executor.timing.rounds import Rounds
from daemon.executor.timing.series import CLOCK_TICK_S
from daemon.executor.timing.side import SidePlace

_STREAM_ROUND_S = 0.05
_GRAPH_ROUND_S = 0.01  # what a round costs varies by 40 us; longer ones cost more contents
_FEW_CALLS = 8
_SIZING_CALLS = 16
_FEWEST_SIZING = 2
_SIZING_BYTES = 1 << 30
_LEAST_SHARE = 0.05  # of a sizing round that its calls take at least, whatever the null candidate says
_CALLS_A_SECOND = 20_000  # of measuring: laying out and capturing more takes too long, and a cell has no say in it
_GROWN_AT_MOST, _WORTH_GROWING = 3, 2  # many slots are filled faster, each, than a few
_WORTH_RESTARTING = 2


@dataclass(frozen=True)
class MeasureRules:
    """When to stop and how large a round may be."""

    max_s: float
    target_rse: float
    min_rounds: int
    min_calls: int
    max_calls: int
    arena_bytes: int
    graph: bool = False  # time launches of CUDA graphs, where every kernel lets itself be captured
    in_pairs: bool = False  # tell from pairs of rounds of one call who does the work of others


class Sizing:
    """Leaves every slot and kernel warm for rounds of the size it answers with; every later answer may be another.
    `not_captured`: why rounds are no launches of graphs although `rules` want them, as far as that has been tried.
    `one_by_one` is called where they are none, before their size is looked for."""

    def __init__(
        self,
        places: list[SidePlace],
        rounds: Rounds,
        turns: RoundTurns,
        nulls: Nulls,
        drawer: Drawer,
        rules: MeasureRules,
        one_by_one: Callable[[], None],
    ) -> None:
        self._places = places
        self._rounds = rounds
        self._turns = turns
        self._nulls = nulls
        self._drawer = drawer
        self._rules = rules
        self._one_by_one = one_by_one
        self._sized_for_s = 0.0  # a call, as long as it was taken to be
        self.not_captured: str | None = None

    def first(self, estimate_s: float, deadline: float, calibration: Calibration, *, as_graph: bool) -> int:
        """Calls per round, by a few calls of `estimate_s` or less each; and whether rounds are launches of graphs,
        which `as_graph` allows."""
        few = min(_SIZING_CALLS, self._choose(estimate_s / _SIZING_CALLS, deadline))
        slot_bytes = max(place.wiring.stride() for place in self._places)
        few = min(few, max(_FEWEST_SIZING, _SIZING_BYTES // slot_bytes))  # what is large takes long by itself
        self._rounds.warm_up(few, deadline)
        if as_graph:
            self.not_captured = self._rounds.why_not_replayed(deadline)
            self._turns.replay = self.not_captured is None
        if not self._turns.replay:
            self._one_by_one()
        walls_s = [self._rounds.run_warm(place, deadline) for place in self._places]
        overhead_s = min(cost_s for _, cost_s in calibration.costs(0, [few, few]))
        calibration.overhead_s = overhead_s
        for index, wall_s in enumerate(walls_s):
            self._nulls.call_s[index] = max(wall_s - overhead_s, _LEAST_SHARE * wall_s) / few
        calls, self._sized_for_s = few, max(self._nulls.call_s)
        for number in range(_GROWN_AT_MOST):
            wanted = self._choose(self._sized_for_s, deadline)
            if wanted == calls or (number and wanted < _WORTH_GROWING * calls):
                break
            calls = wanted
            self._nulls.detach()
            self._rounds.warm_up(calls, deadline)
        self._rounds.capture_single(deadline)
        return calls

    def again(self, fastest_s: float, deadline: float) -> int:
        """Calls per round for calls that take `fastest_s`, as rounds that count have shown. Otherwise a kernel that is
        slow until then would have short rounds, which tell little."""
        self._sized_for_s = fastest_s
        calls = self._choose(fastest_s, deadline)
        self._nulls.detach()
        self._rounds.warm_up(calls, deadline)
        self._rounds.capture_single(deadline)
        return calls

    def are_too_few(self, calls: int, fastest_s: float, deadline: float) -> bool:
        """Whether calls turn out to be so short, `fastest_s` each, that rounds of `calls` say little."""
        if _WORTH_RESTARTING * fastest_s > self._sized_for_s:
            return False
        return self._choose(fastest_s, deadline) >= _WORTH_RESTARTING * calls

    def _choose(self, call_s: float, deadline: float) -> int:
        """Long enough that the overhead is small in comparison, and short enough for memory, and for making and
        checking contents in time."""
        rules = self._rules
        stride = max(place.wiring.stride() for place in self._places)
        call_s = max(call_s, CLOCK_TICK_S)
        usual_s = _GRAPH_ROUND_S if self._turns.replay else _STREAM_ROUND_S
        by_time = max(1, round(usual_s / call_s), min(_FEW_CALLS, round(_STREAM_ROUND_S / call_s)))
        by_memory = max(1, rules.arena_bytes // stride)
        budget_s = min(rules.max_s, max(deadline - time.monotonic(), 0.0) / 3)
        handling_s = max(self._drawer.cost_s, self._rounds.slot_s, 1e-7)
        by_handling = max(1, int(budget_s / (rules.min_rounds * handling_s)))
        by_max_s = max(_FEW_CALLS, int(_CALLS_A_SECOND * rules.max_s))
        return min(by_time, by_memory, by_handling, by_max_s, rules.max_calls)
