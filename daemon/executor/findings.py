"""What a finished round shows: damaged guards, changed inputs, wrong or missing answers. Raises the first it finds."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from daemon.evaluation import Failure
from daemon.executor import verify
from daemon.executor.cells import CellFailed
from daemon.executor.layout import Field
from daemon.executor.side import SidePlace
from daemon.executor.verify import Tolerance
from daemon.verdict import Phase, Side, Verdict

_CHANCE_SIGMAS = 6.0


@dataclass
class Errors:
    """The largest errors seen so far over all rounds."""

    max_abs: float | None = None
    max_rel: float | None = None
    worst_output: str | None = None
    worst_index: tuple[int, ...] | None = None

    def note(self, name: str, difference: verify.Difference) -> None:
        if self.max_abs is None or difference.max_abs > self.max_abs:
            self.max_abs = difference.max_abs
        if self.max_rel is None or difference.max_rel > self.max_rel:
            self.max_rel = difference.max_rel
        if difference.worst is not None:
            self.worst_output, self.worst_index = name, difference.worst


@dataclass
class Inspector:
    """Checks rounds of one case. `tolerances` in the order of the candidate's answers."""

    candidate: SidePlace
    reference: SidePlace | None
    tolerances: list[Tolerance]
    errors: Errors = field(default_factory=Errors)

    def inspect(self, order: list[int], phase: Phase) -> None:
        """All slots of the round just run. Both cells must be frozen. Raises `CellFailed`."""
        self._guards(max(order) + 1, phase)
        for slot in order:
            if self.reference is None:
                self._written(slot, phase)
            else:
                self._compared(slot, phase)

    def _guards(self, slots: int, phase: Phase) -> None:
        for place in (self.reference, self.candidate):
            if place is None:
                continue
            if where := place.attached.damaged_guard(slots):
                raise self._fault(place, phase, f"wrote outside its tensors, {where}")
            if name := place.attached.changed_input(slots):
                raise self._fault(place, phase, f"changed input {name}, which its contract does not call inout")

    def _fault(self, place: SidePlace, phase: Phase, message: str) -> CellFailed:
        side = place.cell.side
        return CellFailed(Verdict.WRONG_ANSWER, Failure(phase=phase, side=side, message=message))

    def _written(self, slot: int, phase: Phase) -> None:
        for index in self.candidate.wiring.answer:
            placed = self.candidate.attached.layout.fields[index]
            if placed.poisoned:
                untouched = self.candidate.attached.unwritten(slot, placed)
                if untouched > by_chance(placed):
                    raise self._fault(
                        self.candidate,
                        phase,
                        f"{placed.name}: {untouched} of {placed.tensor.count} elements were never written",
                    )

    def _compared(self, slot: int, phase: Phase) -> None:
        assert self.reference is not None
        pairs = zip(
            self.candidate.answers(slot),
            self.reference.answers(slot),
            self.candidate.answer_fields(),
            self.tolerances,
            strict=True,
        )
        for (name, got), (_, expected), placed, tolerance in pairs:
            if got.numel() == 0:
                continue
            difference = verify.compare(got, expected, tolerance)
            self.errors.note(name, difference)
            if difference.wrong:
                raise self._wrong(slot, placed, name, difference, tolerance, phase)

    def _wrong(
        self, slot: int, placed: Field, name: str, difference: verify.Difference, tolerance: Tolerance, phase: Phase
    ) -> CellFailed:
        message = verify.describe(name, difference, placed.tensor.count, tolerance)
        untouched = self.candidate.attached.unwritten(slot, placed) if placed.poisoned else 0
        if untouched > by_chance(placed):
            message += f"; {untouched} elements were never written"
        return self._fault(self.candidate, phase, message)


def by_chance(placed: Field) -> int:
    """How many elements may equal the poison they replaced: chance 2/256**size each, six sigmas, three more where it is likely."""
    size = placed.tensor.size_bytes // max(placed.tensor.count, 1)
    expected = placed.tensor.count * 2 / 256.0**size
    return math.floor(expected + _CHANCE_SIGMAS * math.sqrt(expected)) + (3 if expected > 1e-4 else 0)  # noqa: PLR2004


def mismatch(ours: SidePlace, theirs: SidePlace) -> CellFailed | None:
    """Whether the answers of two sides can be compared at all: their number, shapes and dtypes."""
    mine = [ours.wiring.fields[index] for index in ours.wiring.answer]
    expected = [theirs.wiring.fields[index] for index in theirs.wiring.answer]
    message = None
    if len(mine) != len(expected):
        message = f"{len(mine)} outputs, the reference has {len(expected)}"
    for got, wanted in zip(mine, expected, strict=False):
        if message is None and got.tensor.shape != wanted.tensor.shape:
            message = f"shape of {got.name}: expected {list(wanted.tensor.shape)}, got {list(got.tensor.shape)}"
        if message is None and got.tensor.dtype != wanted.tensor.dtype:
            message = f"dtype of {got.name}: expected {wanted.tensor.dtype}, got {got.tensor.dtype}"
    if message is None:
        return None
    return CellFailed(Verdict.WRONG_ANSWER, Failure(phase=Phase.CHECK, side=Side.CANDIDATE, message=message))


def weak_controls(reference: SidePlace, tolerances: list[Tolerance], inputs: list[torch.Tensor]) -> list[str]:
    """Trivial answers that would have passed for every output: the check proves little then."""
    found: list[set[str]] = []
    for (_, expected), tolerance in zip(reference.answers(0), tolerances, strict=True):
        if expected.numel():
            found.append(verify.passes_by_accident(expected, inputs, tolerance))
    return sorted(set.intersection(*found)) if found else []
