"""The null candidate: what a round costs with no kernel in it.

Theory of operation: an identical cell, which never gets a bundle, maps the arenas of a case beside the cells that own
them, and takes its turn with rounds of its own. What is subtracted from a kernel's rounds is what is left of the null's
when its own work is taken away.

On a CPU, and where calls are launched one by one, that work is a bare loop. Where rounds are launches of graphs, its
work keeps the GPU busy for about as long as the kernel would. What that took is what this cell's CUDA events say; the
judge believes them, because nobody else's code runs there. It has to be as long, because what a round costs depends on
it. After a few milliseconds the cores that wait have dozed off, and a null that did nothing was found to cost 60 us
less than the rounds it was subtracted from (H100, rounds of 1.6 ms).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from daemon.errors import HarnessError
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.endings import CellFailed
from daemon.executor.content.arena import Arena
from daemon.executor.content.memory import DeviceFull
from daemon.executor.timing.conditions import LeftRunning, Surroundings
from daemon.executor.timing.round_turns import Turn, waking_calls
from daemon.executor.timing.side import SidePlace, attach, detach
from daemon.executor.timing.side_round import (
    NotCaptured,
    NullKernel,
    NullWork,
    RoundPlan,
    RoundResult,
    capture,
    require_captured,
    run_timed,
    wake_up,
)
from daemon.verdict import Phase, Verdict

_LIMIT_S = 60.0
_CYCLES_PER_S = 1.5e9  # of a GPU's clock, at least: idling need not take exactly as long as the kernel, nor longer
_LONGEST_IDLE_S = 0.1

Plan = Callable[[SidePlace, Turn], RoundPlan]


class Nulls:
    """Null rounds on the arenas of `places`. `plan` draws the rest of a round of a place. `pause`: what a kernel is
    frozen for between waking up and its round, if anything. `call_s`: how long a call of each place takes, if that is
    known. `stopped_s`: how long it took after each round to stop the null candidate's cell and find the device idle."""

    def __init__(
        self,
        cell: Cell,
        places: list[SidePlace],
        surroundings: Surroundings,
        plan: Plan,
        pause: Callable[[], Callable[[], None] | None] = lambda: None,
    ) -> None:
        self.cell = cell
        self._places = places
        self._surroundings = surroundings
        self._plan = plan
        self._pause = pause
        self._mapped: dict[int, Arena] = {}
        self._graphs: dict[tuple[int, NullKernel, int, int], int] = {}
        self._touched: set[tuple[int, NullKernel, bool]] = set()
        self.call_s = [0.0 for _ in places]
        self.stopped_s: list[float] = []
        self._clearing_s = [0.0 for _ in places]

    def costs_s(self, index: int, kind: NullKernel, sizes: list[int], *, replay: bool) -> list[tuple[int, float]]:
        """(calls, seconds) of rounds of these sizes on the arena of place `index`. Of graphs of WORK: the wall beyond
        the work. Of other graphs: the work itself. Of rounds that are not graphs: the wall.

        Raises `LeftRunning` when the device is not idle, `CellFailed` for whoever draws contents, `DeviceFull` when the
        device has no room for the null candidate, and `HarnessError` when that fails otherwise.
        """
        deadline = time.monotonic() + _LIMIT_S
        try:
            self._map(index, deadline)
            if kind is not NullKernel.LOOP and (index, kind, replay) not in self._touched:
                self._touch(index, kind, deadline, replay=replay)
            return [(calls, self._cost_s(index, kind, calls, deadline, replay=replay)) for calls in sizes]
        except LeftRunning:
            raise
        except (CellFailed, NotCaptured) as failed:
            if isinstance(failed, CellFailed) and self.cell.program.poll() is None:
                raise  # another cell, which draws the contents: what fails in one is killed
            if isinstance(failed, CellFailed) and failed.verdict is Verdict.OUT_OF_MEMORY:
                raise DeviceFull(f"no device memory for the null candidate: {failed}") from failed
            raise HarnessError(f"the null candidate failed: {failed}") from failed

    def _map(self, index: int, deadline: float) -> None:
        place = self._places[index]
        if self._mapped.get(index) is place.attached:
            return
        phase, arena = Phase.MEASURE, place.attached
        attach(self.cell, place.wiring, arena, phase=phase, deadline=deadline, number=index, is_null=True)
        self._mapped[index] = place.attached

    def _touch(self, index: int, kind: NullKernel, deadline: float, *, replay: bool) -> None:
        """A round on every page of the null's own map. Of WORK without idling: it tells how long clearing takes."""
        slots = self._places[index].attached.layout.slots
        if kind is NullKernel.WORK:
            self._clearing_s[index] = float("inf")
        result = self._round(index, kind, slots, deadline, replay=replay)
        if kind is NullKernel.WORK:
            self._clearing_s[index] = self._own_s(result) / slots
        self._touched.add((index, kind, replay))

    def _cost_s(self, index: int, kind: NullKernel, calls: int, deadline: float, *, replay: bool) -> float:
        result = self._round(index, kind, calls, deadline, replay=replay)
        if not replay:
            return result.wall_s
        return result.wall_s - self._own_s(result) if kind is NullKernel.WORK else self._own_s(result)

    def _round(self, index: int, kind: NullKernel, calls: int, deadline: float, *, replay: bool) -> RoundResult:
        place, order = self._places[index], list(range(calls))
        work, waking_graph = NullWork(kind, index), None
        if replay:
            work, is_new = self._captured(index, kind, order, deadline)
            if not is_new:
                waking_graph = self._captured(index, kind, order[:1], deadline)[0].graph
        waking = () if replay else tuple(order[: waking_calls(calls)])
        turn = Turn(tuple(order), replay, work.graph, waking_graph=waking_graph, waking=waking)
        waking_seed: int | None = 0
        if (pause := self._pause()) is not None:
            wake_up(self.cell, turn, 0, deadline, self._surroundings, work)
            pause()
            waking_seed = None
        plan = self._plan(place, turn)
        result = run_timed(
            place, plan, 0, self.cell, self._surroundings, deadline=deadline, waking_seed=waking_seed, null=work
        )
        self.stopped_s.append(result.stopped_s)
        return result

    def _captured(self, index: int, kind: NullKernel, order: list[int], deadline: float) -> tuple[NullWork, bool]:
        """A graph of this work, and whether it has not been launched yet: a null round's slots come in any order, so
        one per number of calls is enough."""
        cycles = self._idle_cycles(index, len(order)) if kind is NullKernel.WORK else 0
        key = (index, kind, len(order), cycles)
        is_new = key not in self._graphs
        work = NullWork(kind, index, cycles, self._graphs.setdefault(key, len(self._graphs)))
        if is_new:
            require_captured(capture(self.cell, order, 0, phase=Phase.MEASURE, deadline=deadline, null=work))
        return work, is_new

    def _idle_cycles(self, index: int, calls: int) -> int:
        """What is left of the kernel's time when the answers have been cleared."""
        left_s = calls * max(self.call_s[index] - self._clearing_s[index], 0.0)
        return int(min(left_s, _LONGEST_IDLE_S) * _CYCLES_PER_S)

    @staticmethod
    def _own_s(result: RoundResult) -> float:
        if result.inside_s is None:
            raise HarnessError("the null candidate does not say how long it took")
        return result.inside_s

    def detach(self) -> None:
        """Let go of all arenas: their memory may be given back then."""
        if not self._mapped:
            return
        self._mapped, self._graphs, self._touched = {}, {}, set()
        with suppress(CellFailed, HarnessError):  # a dead cell maps nothing
            detach(self.cell, phase=Phase.MEASURE, deadline=time.monotonic() + _LIMIT_S)
