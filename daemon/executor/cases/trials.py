"""The calls of a case outside of timed rounds: tuning, then trials on fresh inputs whose answers are compared, with
controls that tell what these comparisons are worth."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import torch

from daemon.executor.artifacts.bundle import Request
from daemon.executor.cases.findings import Inspector
from daemon.executor.cases.kept_calls import answers_of, too_large
from daemon.executor.cases.preparation import Preparation
from daemon.executor.cases.trivial import weak_controls
from daemon.executor.content.arena import raw
from daemon.executor.content.drawing import Drawer
from daemon.executor.content.inputs import Secret
from daemon.executor.timing.side import SidePlace
from daemon.executor.timing.side_round import run_untimed
from daemon.verdict import Phase, Side

_TUNING = -1  # the number of a trial that is none


class Trials:
    """Of one case, its kernels loaded and connected. What they show goes into `labels` and the notes of `ready`. Use
    once."""

    def __init__(
        self,
        ready: Preparation,
        request: Request,
        secret: Secret,
        places: Mapping[Side, SidePlace],
        labels: list[str],
        *,
        is_gpu: bool,
    ) -> None:
        self._ready = ready
        self._request = request
        self._secret = secret
        self._places = places
        self._labels = labels
        self._is_gpu = is_gpu
        # The inputs of the first trial, and what the reference answered.
        self._earlier: tuple[list[torch.Tensor], list[torch.Tensor] | None] = [], None
        self.passed = 0

    def tune(self, drawer: Drawer, deadline: float) -> None:
        """A call whose answer nobody looks at. Kernels are compiled and tuned in it, which may call them many times on
        the same memory."""
        start = time.monotonic()
        self._attach(deadline)
        self._one(drawer, _TUNING, deadline)
        self._ready.compile_ms += (time.monotonic() - start) * 1e3

    def check(self, drawer: Drawer, inspector: Inspector, deadline: float, progress: Callable[[str], None]) -> float:
        """Run every trial that the contract asks for. Returns the fastest call seen, in seconds; it tells how large
        rounds may be.

        Raises `CellFailed` for a wrong answer, and for what a kernel does.
        """
        total = self._request.correctness_trials
        self._attach(deadline)
        fastest_s = float("inf")
        for trial in range(total):
            progress(f"checking {trial + 1}/{total}")
            fastest_s = min(fastest_s, self._one(drawer, trial, deadline))
            inspector.inspect([0], Phase.CHECK)
            self.passed += 1
            if trial <= 1:
                self._weak_controls(inspector, drawer, trial)
        if total == 1 and self._earlier[1] is not None:
            self._one(drawer, 1, deadline)
            inspector.inspect([0], Phase.CHECK)
            self._weak_controls(inspector, drawer, 1)
        self._look_at_weights(deadline)
        return fastest_s

    def call(
        self, place: SidePlace, values: Sequence[torch.Tensor], trial: int, deadline: float, *, again: bool = False
    ) -> float:
        """One call of one side on inputs by their number, [1, *shape] each. Returns about how many seconds it took.
        `again`: the same call once more, after everything of the one before was cleared."""
        place.attached.compose(self._secret.generator("poison", trial, place.cell.side, again), [0])
        place.fill([0], values)
        seed = self._secret.seed("call", "check", trial)
        launched_s: float | None = None
        reference = self._places.get(Side.REFERENCE)
        # On a CPU a call is over when all of it has been launched.
        if self._is_gpu and reference is not None and place is not reference:
            launched_s = place.patience.launched_s(reference.patience)
        return run_untimed(place, [0], seed, phase=Phase.CHECK, deadline=deadline, launched_s=launched_s)

    def _attach(self, deadline: float) -> None:
        for place in self._places.values():
            place.attach(1, phase=Phase.CHECK, deadline=deadline)

    def _one(self, drawer: Drawer, trial: int, deadline: float) -> float:
        values = drawer.draw("check", trial, [0], deadline=deadline)
        return max(self.call(place, values, trial, deadline) for place in self._places.values())

    def _weak_controls(self, inspector: Inspector, drawer: Drawer, trial: int) -> None:
        """Look for trivial answers after each of the first two trials, because only the second one tells what an
        earlier answer is worth. It is made for that, if the contract wants one."""
        is_secret = any(drawer.is_secret(index) for index in range(len(drawer.logicals)))
        reference, (inputs_before, earlier), self._earlier = inspector.reference, self._earlier, ([], None)
        if trial == 0 and not is_secret:
            self._labels.append("fixed_inputs")
        if reference is None or "weak_check" in self._labels:
            return
        arena, wiring = reference.attached, reference.wiring
        inputs = [arena.pristine(0, placed) for _, placed in wiring.inputs(arena.layout)]
        if all(torch.equal(raw(one), raw(other)) for one, other in zip(inputs_before, inputs, strict=False)):
            earlier = None  # that it is right again says nothing
        if accepted := weak_controls(reference, inspector.tolerances, inputs, earlier):
            self._labels.append("weak_check")
            self._ready.notes.append(f"a trivial answer would pass the check too: {'; '.join(accepted[:8])}"[:500])
        elif is_secret and trial == 0 and not too_large(list(self._places.values())):
            self._earlier = [tensor.clone() for tensor in inputs], answers_of(reference)

    def _look_at_weights(self, deadline: float) -> None:
        """Whether there are weights that no trial has varied."""
        if unvaried := self._ready.unvaried_weights(deadline):
            self._labels.append("constant_weights")
            names = ", ".join(unvaried)[:300]
            self._ready.notes.append(
                f"weights that never change, so that a kernel without them would pass too: {names}"
            )
