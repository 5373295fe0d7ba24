"""What a finished round shows: damaged guards, changed inputs, wrong or missing answers. Raises the first it finds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch

from daemon.evaluation import Failure
from daemon.executor.cases import verify
from daemon.executor.cases.verify import Tolerance
from daemon.executor.cells.endings import CellFailed
from daemon.executor.content.arena import raw
from daemon.executor.shared import tree
from daemon.executor.shared.layout import Field
from daemon.executor.timing.side import SidePlace
from daemon.verdict import Phase, Side, Verdict

_CHANCE_SIGMAS = 6.0
_RARE = 1e-4
_SHOWN = 300  # characters of a nesting
_SLOTS_COMPARED_TOGETHER = 64 << 20  # bytes
_ANSWERS_COMPARED_TOGETHER = 1 << 20  # bytes of one answer in all slots


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
    """Checks rounds of one case. `tolerances`: in the order of the candidate's answers. `on_answers`: added to what is
    wrong with any answer; `on_outputs`: added to those that begin as random bytes."""

    candidate: SidePlace
    reference: SidePlace | None
    tolerances: list[Tolerance]
    errors: Errors = field(default_factory=Errors)
    on_outputs: str = ""
    on_answers: str = ""

    def inspect(self, order: list[int], phase: Phase) -> None:
        """All slots of the round just run. Both cells must be frozen. Raises `CellFailed`."""
        for place in (self.reference, self.candidate):
            if place is not None and (what := place.attached.damage()):
                raise _fault(place, phase, what)
        if self.reference is None:
            self._written(order, phase)
        else:
            self._compared(self.reference, order, phase)

    def _written(self, order: list[int], phase: Phase) -> None:
        for placed in self.candidate.answer_fields():
            if untouched := self._untouched(order, placed):
                total = placed.tensor.count * len(order)
                message = f"{placed.name}: {untouched} of {total} elements were never written{self.on_outputs}"
                raise _fault(self.candidate, phase, message)

    def _untouched(self, order: list[int], placed: Field) -> int:
        """How many elements still hold the poison, beyond what chance explains; 0 for a field that was not poisoned."""
        if not placed.poisoned:
            return 0
        untouched = self.candidate.attached.unwritten(order, placed)
        return untouched if untouched > by_chance(placed, len(order)) else 0

    def _compared(self, reference: SidePlace, order: list[int], phase: Phase) -> None:
        names = self.candidate.wiring.names
        fields = list(zip(self.candidate.answer_fields(), reference.answer_fields(), strict=True))
        right = self._right_together(reference, fields, order)
        for number, ((mine, theirs), name, tolerance) in enumerate(zip(fields, names, self.tolerances, strict=True)):
            if mine.tensor.count == 0 or number in right:
                continue
            for slots in _batches(order, mine.tensor.size_bytes):
                got = self.candidate.attached.outputs(slots, mine)
                expected = reference.attached.outputs(slots, theirs)
                difference = verify.compare(got, expected, tolerance).without_leading_index()
                self.errors.note(name, difference)
                if difference.wrong:
                    message = verify.describe(name, difference, got.numel(), tolerance)
                    if untouched := self._untouched(slots, mine):
                        message += f"; {untouched} elements were never written"
                    message += self.on_answers + (self.on_outputs if mine.poisoned else "")
                    raise _fault(self.candidate, phase, message)

    def _right_together(self, reference: SidePlace, fields: list[tuple[Field, Field]], order: list[int]) -> set[int]:
        """The numbers of small answers that are found right by one look at all of a dtype and tolerance. An optimizer's
        step has hundreds, and to look at each takes longer than the step."""
        alike: dict[tuple[str, Tolerance], list[int]] = {}
        for number, ((mine, _), tolerance) in enumerate(zip(fields, self.tolerances, strict=True)):
            if 0 < mine.tensor.size_bytes * len(order) <= _ANSWERS_COMPARED_TOGETHER:
                alike.setdefault((mine.tensor.dtype, tolerance), []).append(number)
        right: set[int] = set()
        for (_, tolerance), numbers in alike.items():
            if len(numbers) == 1:
                continue
            got = [self.candidate.attached.outputs(order, fields[number][0]) for number in numbers]
            expected = [reference.attached.outputs(order, fields[number][1]) for number in numbers]
            difference = verify.safely_within(_in_one(got), _in_one(expected), tolerance)
            if difference is not None:
                self.errors.note(self.candidate.wiring.names[numbers[0]], difference)
                right.update(numbers)
        return right


def _in_one(tensors: list[torch.Tensor]) -> torch.Tensor:
    """The elements of all of them, as bits, because not every dtype can be concatenated."""
    return torch.cat([raw(tensor).flatten() for tensor in tensors]).view(tensors[0].dtype)


def _batches(order: list[int], size_bytes: int) -> Iterator[list[int]]:
    """Slots whose answers are compared together: each large one where it lies, many small ones in a copy."""
    count = max(1, _SLOTS_COMPARED_TOGETHER // max(size_bytes, 1))
    for start in range(0, len(order), count):
        yield order[start : start + count]


def _fault(place: SidePlace, phase: Phase, message: str) -> CellFailed:
    return CellFailed(Verdict.WRONG_ANSWER, Failure(phase=phase, side=place.cell.side, message=message))


def by_chance(placed: Field, slots: int) -> int:
    """How many elements of `slots` slots may equal the poison they replaced: six sigmas over the expectation.

    An element of `size` bytes does so with a probability of at most 2 in 256**size (twice, because values such as 0 and
    1 are common).
    """
    size = placed.tensor.size_bytes // max(placed.tensor.count, 1)
    expected = slots * placed.tensor.count * 2 / 256.0**size
    likely = 3 if expected > _RARE else 0
    return math.floor(expected + _CHANCE_SIGMAS * math.sqrt(expected)) + likely


def mismatch(ours: SidePlace, theirs: SidePlace) -> CellFailed | None:
    """Why the answers of two sides cannot be compared at all (their number, shapes or dtypes); None if they can."""
    declared = "" if ours.wiring.returns else ", as this kernel's io declares it"
    mine = [ours.wiring.fields[index] for index in ours.wiring.answer]
    expected = [theirs.wiring.fields[index] for index in theirs.wiring.answer]
    message = None
    if len(mine) != len(expected):
        message = f"{len(mine)} output{'s' if len(mine) != 1 else ''}, the reference has {len(expected)}"
    elif ours.wiring.returns and theirs.wiring.returns and ours.wiring.structure != theirs.wiring.structure:
        wanted_words, words = (tree.in_words(place.wiring.structure) for place in (theirs, ours))
        message = f"the outputs are nested differently: expected {wanted_words[:_SHOWN]}, got {words[:_SHOWN]}"
    for got, wanted in zip(mine, expected, strict=False):
        if message is None and got.tensor.shape != wanted.tensor.shape:
            message = (
                f"shape of {got.name}: expected {list(wanted.tensor.shape)}, got {list(got.tensor.shape)}{declared}"
            )
        if message is None and got.tensor.dtype != wanted.tensor.dtype:
            message = f"dtype of {got.name}: expected {wanted.tensor.dtype}, got {got.tensor.dtype}{declared}"
    if message is None:
        return None
    if ours.wiring.returns and (written := ours.wiring.output_args):
        names = ", ".join(ours.wiring.fields[index].name for index in written)
        message += f"; what the kernel returned is its answer, not what it wrote into {names}: return one of them"
    return CellFailed(Verdict.WRONG_ANSWER, Failure(phase=Phase.CHECK, side=Side.CANDIDATE, message=message))
