"""Where a round's few secret bytes are written, and its few telling bytes are read. A comb is some short pieces of
memory (its teeth), all the same distance apart. Pure arithmetic, except for the views.

Theory of operation: what happens while the clock runs has to be quick. On a GPU it must not be a kernel, because a GPU
takes a tenth of a millisecond and more to switch from one process's kernels to another's. Its copy engines need no
switch, and one of their commands moves the teeth of one comb. So positions are drawn as combs. One goes over all slots
for each tensor: its teeth lie on a line from a random place in the first slot to another one in the last. Others lie
inside single tensors: their teeth stand so close that a kernel gains little by leaving out what lies between.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from daemon.executor.shared.layout import Field, Layout

_TOOTH_BYTES = 16
_TEETH_INSIDE = 64  # at least, where there is room
_ACROSS_AT_MOST = 64  # tensors that are looked at in every slot; of more than that, half are drawn anew each time
_INSIDE = 4


@dataclass(frozen=True)
class Comb:
    """`teeth` pieces of `width` bytes, `pitch` bytes apart, the first one `start` bytes into a memory."""

    start: int
    pitch: int
    teeth: int
    width: int

    @property
    def size_bytes(self) -> int:
        return self.teeth * self.width

    def of(self, memory: torch.Tensor) -> torch.Tensor:
        """Its pieces of `memory` (flat uint8), [teeth, width]: a view."""
        return memory.as_strided((self.teeth, self.width), (self.pitch, 1), memory.storage_offset() + self.start)


def drawn(layout: Layout, fields: Sequence[Field], order: Sequence[int], random: torch.Generator) -> tuple[Comb, ...]:
    """Combs over `fields` of the slots in `order`. Each of these slots has at least one tooth for each field (of more
    than 64: for the 32 largest and 32 others). Many teeth are inside a few fields, most likely those that have most of
    the bytes. Slots between them have teeth as well; that is harmless, because they hold what the judge's image
    says."""
    fields = sorted((field for field in fields if field.tensor.size_bytes), key=lambda field: -field.tensor.size_bytes)
    if not fields or not order:
        return ()
    numbers = _Numbers(random)
    slots = range(min(order), max(order) + 1)
    combs = [_across(layout, field, slots, numbers) for field in _looked_at(fields, random)]
    ends = list(itertools.accumulate(field.tensor.size_bytes for field in fields))
    for _ in range(_INSIDE):
        field = fields[bisect.bisect_right(ends, numbers.below(ends[-1]))]
        slot = order[numbers.below(len(order))]
        combs.append(_inside(layout.origin(slot) + field.offset, field.tensor.size_bytes, numbers))
    return tuple(combs)


def _looked_at(fields: list[Field], random: torch.Generator) -> list[Field]:
    """Of `fields`, the largest first, those that have a tooth in every slot."""
    if len(fields) <= _ACROSS_AT_MOST:
        return fields
    half = _ACROSS_AT_MOST // 2
    others = torch.randperm(len(fields) - half, generator=random)[:half].tolist()
    return fields[:half] + [fields[half + number] for number in others]


class _Numbers:
    """All numbers of a round's combs, drawn at once: to draw each by itself takes longer than a round can spare."""

    def __init__(self, random: torch.Generator) -> None:
        count = 2 * _ACROSS_AT_MOST + 4 * _INSIDE
        self._left: Iterator[int] = iter(torch.randint(0, 1 << 62, (count,), generator=random).tolist())

    def below(self, bound: int) -> int:
        return next(self._left) % bound


def _across(layout: Layout, field: Field, slots: range, numbers: _Numbers) -> Comb:
    """A tooth in each of `slots`."""
    width = min(_TOOTH_BYTES, field.tensor.size_bytes)
    room = field.tensor.size_bytes - width + 1
    first, last = numbers.below(room), numbers.below(room)
    drift = math.trunc((last - first) / (len(slots) - 1)) if len(slots) > 1 else 0
    return Comb(layout.origin(slots.start) + field.offset + first, layout.stride + drift, len(slots), width)


def _inside(start: int, size_bytes: int, numbers: _Numbers) -> Comb:
    """Teeth all over one tensor. Their distance and first place are drawn too."""
    width = min(_TOOTH_BYTES, size_bytes)
    widest = max(size_bytes // _TEETH_INSIDE, width)
    pitch = widest - numbers.below((widest - width) // 4 + 1)
    beyond, left = divmod(size_bytes - width, pitch)
    return Comb(start + numbers.below(left + 1), pitch, beyond + 1, width)
