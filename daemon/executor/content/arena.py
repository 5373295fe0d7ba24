"""Shared memory between judge and cell, and the judge's private image of what must be in it.

Theory of operation: the arena is one piece of shared memory per side (`memory`), on the device that is judged on.
Before a round the judge composes the whole truth in a private *image* on the same device (fresh inputs, random poison
in the outputs, random guard bars), then copies it into the arena while the cell is frozen. After the round the same
image tells what was touched: guards and read-only inputs must equal it, outputs must not. On a GPU all of this is
queued work: `settle` waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from daemon.executor.content.memory import SharedMemory
from daemon.executor.content.wiring import lies_inside
from daemon.executor.shared.layout import Field, Layout

_COMPARED_AT_ONCE = {"cpu": 256 << 20, "cuda": 1 << 30}  # bytes; every piece is waited for
_WORTH_LEAVING_OUT = 1 << 20  # bytes of an input that is written over what was drawn
_WORD = 8
_MANY_RANGES = 8
_IN_ONE_LOOK = 16 << 20  # bytes of all slots, with what lies between the ranges


def region(buffer: torch.Tensor, layout: Layout, slot: int, field: Field) -> torch.Tensor:
    """The bytes of one field as a tensor of its dtype and shape, over `buffer` (flat uint8 of the arena or its
    image)."""
    dtype = getattr(torch, field.tensor.dtype)
    if field.tensor.count == 0:
        return torch.empty(field.tensor.shape, dtype=dtype, device=buffer.device)
    start = layout.origin(slot) + field.offset
    return buffer[start : start + field.tensor.size_bytes].view(dtype).reshape(field.tensor.shape)


class Arena:
    """One side's slots, laid out in `shared`, and the private image of the same size."""

    def __init__(self, layout: Layout, shared: SharedMemory) -> None:
        self.layout = layout
        self.shared = shared
        self.image = torch.zeros(layout.total_bytes, dtype=torch.uint8, device=shared.bytes.device)
        self._protected = _protected(layout)
        self._is_protected: torch.Tensor | None = None  # of each byte of a slot, where there are many ranges
        self._numbers: tuple[list[int], torch.Tensor] | None = None
        self._composed = _composed(layout)

    @property
    def device(self) -> torch.device:
        return self.image.device

    def settle(self) -> None:
        """Wait until everything asked for here has happened."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def compose(self, secret: torch.Generator, slots: list[int]) -> None:
        """Fill the image of `slots`, which are neighbours, with secret random bytes: guards, poison, and what lies
        between. Inputs are written over them afterwards.

        The other slots keep what they had, so a kernel may be called on them at any time without finding nonsense.
        """
        first, beyond = _ends(slots)
        rows = _grid(self.layout, self.image, self.layout.slots).view(torch.int64)[first:beyond]
        for start, end in self._composed:
            rows[:, start:end].random_(generator=secret)  # 62 bits a word: no byte pattern a kernel could know

    def place(self, slots: list[int], field: Field, values: torch.Tensor) -> None:
        """Write one input's content, [slots, *shape], into the image."""
        if field.tensor.count == 0:
            return
        rows = lanes(_columns(self.layout, self.image, field))
        if values.stride(0) == 0:  # one content for all
            values = values[:1].clone(memory_format=torch.contiguous_format)
        pieces = lanes(values.contiguous().reshape(values.shape[0], -1).view(torch.uint8))
        if len(slots) == 1:
            rows[slots[0]].copy_(pieces[0])
        else:
            rows[self._as_tensor(slots)] = pieces

    def publish(self, slots: list[int]) -> None:
        """Copy the image of `slots`, which are neighbours, into the shared memory. The cell must be frozen."""
        start, end = (self.layout.origin(slot) for slot in _ends(slots))
        self.shared.bytes[start:end].copy_(self.image[start:end])

    def output(self, slot: int, field: Field) -> torch.Tensor:
        """What the cell left in a field. The cell must be frozen while this is used."""
        return region(self.shared.bytes, self.layout, slot, field)

    def pristine(self, slot: int, field: Field) -> torch.Tensor:
        """What the judge put there."""
        return region(self.image, self.layout, slot, field)

    def outputs(self, slots: list[int], field: Field) -> torch.Tensor:
        """What the cell left in one field of several slots, [len(slots), *shape]: a copy, of one slot a view."""
        return self._gathered(self.shared.bytes, slots, field)

    def pristines(self, slots: list[int], field: Field) -> torch.Tensor:
        """What the judge put there, as `outputs`."""
        return self._gathered(self.image, slots, field)

    def damage(self) -> str | None:
        """Words for the first thing in any slot that was written and must not be (a guard, a read-only field); None
        when nothing was. Every slot must have been composed and published."""
        slots = self.layout.slots
        ours, theirs = _grid(self.layout, self.image, slots), _grid(self.layout, self.shared.bytes, slots)
        in_one_look = len(self._protected) > _MANY_RANGES and ours.numel() <= _IN_ONE_LOOK
        if in_one_look and not self._is_any_changed(ours, theirs):
            return None
        for first, last in self._protected:
            changed = _first_change(ours[:, first:last], theirs[:, first:last])
            if changed is not None:
                return self._name(first + changed)
        return None

    def _is_any_changed(self, ours: torch.Tensor, theirs: torch.Tensor) -> bool:
        """Whether a protected byte is, told at once for all ranges of them."""
        if self._is_protected is None:
            inside = torch.zeros(self.layout.stride, dtype=torch.bool)
            for first, last in self._protected:
                inside[first:last] = True
            self._is_protected = inside.to(self.device)
        return bool((ours != theirs).logical_and_(self._is_protected).any())

    def _gathered(self, buffer: torch.Tensor, slots: list[int], field: Field) -> torch.Tensor:
        dtype = getattr(torch, field.tensor.dtype)
        shape = (len(slots), *field.tensor.shape)
        if field.tensor.count == 0:
            return torch.empty(shape, dtype=dtype, device=buffer.device)
        if len(slots) == 1:
            return region(buffer, self.layout, slots[0], field).unsqueeze(0)
        rows = lanes(_columns(self.layout, buffer, field))[self._as_tensor(slots)]
        return rows.contiguous().view(torch.uint8).view(dtype).reshape(shape)

    def _as_tensor(self, slots: list[int]) -> torch.Tensor:
        """The numbers of slots, on the device. The device waits for them to get there, so that happens once for all
        fields."""
        if self._numbers is None or self._numbers[0] != slots:
            self._numbers = list(slots), torch.tensor(slots, device=self.device)
        return self._numbers[1]

    def _name(self, offset: int) -> str:
        before = [field for field in self.layout.fields if field.offset <= offset]
        if not before:
            return f"wrote outside its tensors, before {self.layout.fields[0].name}"
        nearest = before[-1]
        if offset < nearest.offset + nearest.tensor.size_bytes:
            mend = "or declare it in this kernel's own io"
            if lies_inside(nearest.name):
                mend = (
                    "or, where it is the place for the answer (GPU MODE), leave it out of get_inputs() and let a "
                    "function around the kernel make it: see the page Compare two kernels"
                )
            return (
                f"changed input {nearest.name}, which the contract does not call inout for this kernel: work on a copy "
                f"of it (x.clone(), inplace=False), {mend}"
            )
        return f"wrote outside its tensors, behind {nearest.name}"

    def unwritten(self, slots: list[int], field: Field) -> int:
        """How many elements of a poisoned field still hold the poison (one may match by chance: see
        `findings.by_chance`)."""
        same = raw(self.outputs(slots, field)) == raw(self.pristines(slots, field))
        return int(torch.count_nonzero(same))  # a sum is made of a copy eight times as large


def _ends(slots: Sequence[int]) -> tuple[int, int]:
    """The first of them, and the one beyond the last."""
    first, beyond = min(slots), max(slots) + 1
    if beyond - first != len(slots):
        raise ValueError(f"no neighbours: {slots}")
    return first, beyond


def _grid(layout: Layout, buffer: torch.Tensor, slots: int) -> torch.Tensor:
    """The first `slots` as rows of bytes."""
    return buffer[: layout.origin(slots)].view(slots, layout.stride)


def _columns(layout: Layout, buffer: torch.Tensor, field: Field) -> torch.Tensor:
    """One field of every slot, as rows of bytes."""
    return _grid(layout, buffer, layout.slots)[:, field.offset : field.offset + field.tensor.size_bytes]


def lanes(rows: torch.Tensor) -> torch.Tensor:
    """Rows of bytes as rows of the widest integers that fit: fewer to move."""
    for dtype in (torch.int64, torch.int32, torch.int16):
        if all(number % dtype.itemsize == 0 for number in (rows.shape[-1], rows.stride(0), rows.storage_offset())):
            return rows.view(dtype)
    return rows


def _first_change(ours: torch.Tensor, theirs: torch.Tensor) -> int | None:
    """The first column, in order of rows taken a piece at a time, in which two grids of bytes differ."""
    height, width = ours.shape
    at_once = _COMPARED_AT_ONCE[ours.device.type]
    rows = max(1, at_once // max(width, 1))
    for top in range(0, height, rows):
        for left in range(0, width, at_once):
            piece = slice(top, top + rows), slice(left, left + at_once)
            if not torch.equal(lanes(ours[piece]), lanes(theirs[piece])):
                changed = (ours[piece] != theirs[piece]).any(dim=0)
                return left + int(changed.to(torch.uint8).argmax())
    return None


_RAW_TYPES = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def raw(tensor: torch.Tensor) -> torch.Tensor:
    """The same memory as integers: compares bit by bit, NaN and all."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.view(_RAW_TYPES[tensor.element_size()])


def _composed(layout: Layout) -> list[tuple[int, int]]:
    """(first, last) 64-bit words of a slot that are drawn at random: all except the inside of large inputs."""
    ranges, cursor = [], 0
    for field in layout.fields:
        if not field.poisoned and field.tensor.size_bytes >= _WORTH_LEAVING_OUT:
            ranges.append((cursor, field.offset // _WORD))
            cursor = (field.offset + field.tensor.size_bytes) // _WORD
    ranges.append((cursor, layout.stride // _WORD))
    return ranges


def _protected(layout: Layout) -> list[tuple[int, int]]:
    """(first, last) byte ranges inside a slot that no kernel may change: all except its writable fields."""
    ranges, cursor = [], 0
    for field in layout.fields:
        if field.writable:
            ranges.append((cursor, field.offset))
            cursor = field.offset + field.tensor.size_bytes
    ranges.append((cursor, layout.stride))
    return ranges
