"""Rounds of all sides of a case on the same contents: filled, run, compared.

Theory of operation: one round that counts is fresh secret content in every slot, the cell frozen, the GPU idle and its
caches cold; the clock starts; a last secret part is written; the cell thaws and calls its kernel once per slot; "done"
arrives; bytes of every output are read; the clock stops; everything is compared. What one side does in it is
`side_round`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from daemon.evaluation import Failure
from daemon.executor.cells.endings import CellFailed
from daemon.executor.content.drawing import Drawer
from daemon.executor.content.inputs import Secret
from daemon.executor.shared.layout import Field
from daemon.executor.timing.conditions import Surroundings
from daemon.executor.timing.round_turns import RoundTurns, Turn
from daemon.executor.timing.series import Round
from daemon.executor.timing.side import SidePlace
from daemon.executor.timing.side_round import (
    RoundPlan,
    RoundResult,
    capture,
    plan_round,
    require_captured,
    run_timed,
    run_untimed,
    wake_up,
)
from daemon.verdict import Phase, Verdict

COUNTS = "round"  # the purpose of rounds that do
_CHECKING_ANY_S = 0.01  # however little there is
_PAUSE_LIMIT_S = 60.0

Check = Callable[[int, list[int]], None]


class Rounds:
    """Rounds on `places`, the candidate's first. `check(round, slots)` compares all outputs of the round; it raises
    what it finds. `slot_s`: about what making and checking the contents of a slot takes."""

    def __init__(
        self,
        places: list[SidePlace],
        drawer: Drawer,
        secret: Secret,
        surroundings: Surroundings,
        turns: RoundTurns,
        check: Check,
    ) -> None:
        self._places = places
        self._drawer = drawer
        self._secret = secret
        self._surroundings = surroundings
        self._turns = turns
        self._check = check
        self._content = secret.generator("content")
        self._number = self._plans = self._pauses = 0
        self._filled: list[int] = []  # the slots that have had contents last
        self.is_capturing = False  # also when a process has ended over it
        self._filling_s = self._checking_s = 0.0

    @property
    def slot_s(self) -> float:
        return self._filling_s + self._checking_s

    # -- untimed ------------------------------------------------------------------------------------------------

    def warm_up(self, slots: int, deadline: float) -> None:
        """Every page of every slot touched once, and the kernel warm, on content nothing depends on."""
        for place in self._places:
            place.attach(slots, phase=Phase.MEASURE, deadline=deadline)
        self._turns.begin(slots)
        start = time.perf_counter()
        self._fill(self._turns.captured, "warm", deadline)
        self._filling_s = (time.perf_counter() - start) / slots
        if self._turns.replay:
            require_captured(self._capture_usual(deadline))
        for place in self._places:
            self.run_warm(place, deadline)

    def run_warm(self, place: SidePlace, deadline: float, *, replay: bool | None = None) -> float:
        """Seconds a round of one side takes, about: how large they have to be."""
        seed, as_graph = self._secret.seed("warm"), self._turns.replay if replay is None else replay
        return run_untimed(place, self._turns.captured, seed, phase=Phase.MEASURE, deadline=deadline, replay=as_graph)

    def why_not_replayed(self, deadline: float) -> str | None:
        """Why not every kernel can be captured as a CUDA graph whose launch gives right answers; None where all can.

        Work that a kernel puts on a stream of its own choosing (the default one, say) is not captured, and its slots
        keep the poison: only the answers tell. They must be on fresh contents, because what ran during the capture was
        right for the contents of then.
        """
        if (refusal := self._capture_usual(deadline)) is not None:
            return refusal
        order = self._turns.captured
        self._fill(order, "capture", deadline)
        for place in self._places:
            self.run_warm(place, deadline, replay=True)
        start = time.perf_counter()
        try:
            self._check(0, order)
        except CellFailed as failed:
            return f"a launch of the captured graph does not do what the calls do: {failed}"
        finally:
            self._checking_s = max(time.perf_counter() - start - _CHECKING_ANY_S, 0.0) / len(order)
        return None

    def capture_single(self, deadline: float) -> None:
        """Capture the graph of one call, if rounds are launches of graphs. It wakes cells up from then on."""
        if self._turns.replay:
            turn = self._turns.single()
            for place in self._places:
                require_captured(self._capture(place, turn, deadline))

    def _capture_usual(self, deadline: float) -> str | None:
        """The graph of a round's calls, in every cell; or why there is none."""
        for place in self._places:
            refusal = self._capture(place, self._turns.first, deadline)
            if refusal is not None:
                return refusal
        return None

    def _capture(self, place: SidePlace, turn: Turn, deadline: float) -> str | None:
        order, seed = list(turn.order), self._secret.seed("capture")
        self.is_capturing = True
        refusal = capture(place.cell, order, seed, phase=Phase.MEASURE, deadline=deadline, graph=turn.graph)
        self.is_capturing = False
        return refusal

    def _fill(self, slots: list[int], purpose: str, deadline: float, *, equal: bool = False) -> None:
        """Fresh guards, poison and inputs for every place, the same inputs on all of them; `equal`: the same in every
        slot."""
        self._filled = slots
        for place in self._places:
            place.attached.compose(self._content, slots)
        values = self._drawer.draw(purpose, self._number, slots[:1] if equal else slots, deadline=deadline)
        if equal:
            values = [value.expand(len(slots), *value.shape[1:]) for value in values]
        for place in self._places:
            place.fill(slots, values)

    # -- timed --------------------------------------------------------------------------------------------------

    def one(self, turn: Turn, purpose: str, deadline: float, series: list[list[Round]], *, equal: bool = False) -> None:
        """One timed round of every place, all on the same contents, all answers compared. `series`: where each place's
        goes. Raises `CellFailed` for what a kernel did.

        Cells are woken up right before the clock starts, unless they may know by then what they will be given.
        """
        self._number += 1
        self._restore()
        order = list(turn.order)
        sequence = list(range(len(self._places)))
        if self._number % 4 in (2, 3):  # A B B A
            sequence.reverse()
        woken_s: dict[int, float] = {}
        if self._wakes_early:
            for index in reversed(sequence):
                woken_s[index] = self._wake_up(self._places[index], turn, deadline)
        self._fill(order, purpose, deadline, equal=equal)
        results = {index: self._timed(self._places[index], turn, deadline) for index in sequence}
        self._check(self._number, order)
        for index in sequence:
            _require_unchanged(self._places[index], results[index])
        for index, rounds in enumerate(series):
            rounds.append(_as_round(results[index], woken_s.get(index)))

    def plan(self, place: SidePlace, turn: Turn) -> RoundPlan:
        """Drawn from a generator of its own: what a cell sees of other rounds, such as their orders, must not tell
        where the judge will look in this one. Not one of torch's: they have 32 bits of seed, all of which can be tried
        in minutes."""
        self._plans += 1
        random = self._secret.host_generator("plan", self._plans)
        return plan_round(place.attached, self._secret_fields(place), turn, random)

    def pause(self) -> Callable[[], None] | None:
        """What lies between waking up and the clock, where cells wake early, for a null round."""
        return self._draw_for_nobody if self._wakes_early else None

    def _secret_fields(self, place: SidePlace) -> list[Field]:
        fields = place.wiring.inputs(place.attached.layout)
        return [placed for logical, placed in fields if self._drawer.is_secret(logical)]

    def _restore(self) -> None:
        """Write the last contents once more, where a kernel changes what it is given. It is woken up with them, and
        could otherwise compute anything from what it left there itself."""
        for place in self._places:
            if any(placed.writable and not placed.poisoned for placed in place.attached.layout.fields):
                place.attached.publish(self._filled)

    def _timed(self, place: SidePlace, turn: Turn, deadline: float) -> RoundResult:
        """One timed round of the place's own cell. Raises `CellFailed` when outputs changed after "done"."""
        seed = self._secret.seed("call", self._number)
        plan, waking_seed = self.plan(place, turn), None if self._wakes_early else self._waking_seed
        with place.patience.waiting(len(turn.order), deadline) as limit:
            result = run_timed(
                place, plan, seed, place.cell, self._surroundings, deadline=limit, waking_seed=waking_seed
            )
        place.patience.saw(len(turn.order), result.wall_s)
        _require_unchanged(place, result)
        return result

    def _wake_up(self, place: SidePlace, turn: Turn, deadline: float) -> float:
        with place.patience.waiting(len(turn.order), deadline) as limit:
            return wake_up(place.cell, turn, self._waking_seed, limit, self._surroundings)

    @property
    def _waking_seed(self) -> int:
        return self._secret.seed("waking", self._number)

    @property
    def _wakes_early(self) -> bool:
        """Whether no cell may run between the drawing of contents and the clock, because another cell draws them. What
        that cell knows, it may be able to tell a kernel of the same source, which would compute everything before the
        clock starts.

        Launches of graphs are too short to be timed so: a round costs 0.1 ms more then, and not the same on both sides.
        With a reference, whose source is another one, they are not.
        """
        return self._drawer.is_told and (len(self._places) == 1 or not self._turns.replay)

    def _draw_for_nobody(self) -> None:
        self._pauses += 1
        self._drawer.draw("pause", self._pauses, self._filled, deadline=time.monotonic() + _PAUSE_LIMIT_S)


def _as_round(result: RoundResult, woken_s: float | None) -> Round:
    """`woken_s`: what waking the cell up took, if that was not right before the round. What goes by until it stands
    still after a round counts with it: that, too, may be for calls to come."""
    turn, took_s = result.plan.turn, result.woken_s if woken_s is None else woken_s
    woken = None if took_s is None else (turn.waking_calls, took_s + result.stopped_s)
    return Round(len(turn.order), result.wall_s, result.inside_s, result.reading, woken)


def _require_unchanged(place: SidePlace, result: RoundResult) -> None:
    """Raises `CellFailed` when outputs changed after "done"."""
    if changed := result.late_writes(place.attached):
        message = f"{changed} sampled bytes of the output changed after the kernel had said it was done"
        raise CellFailed(
            Verdict.INTEGRITY_VIOLATION, Failure(phase=Phase.MEASURE, side=place.cell.side, message=message)
        )
