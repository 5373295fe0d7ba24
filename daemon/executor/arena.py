"""Shared memory between judge and cell, and the judge's private image of what must be in it.

Theory of operation: the arena is one memfd per side, sealed against shrinking so that a cell cannot pull it from
under the judge. Before a round the judge composes the whole truth in a private *image* (fresh inputs, random poison
in the outputs, random guard bars), then copies it into the arena while the cell is frozen. After the round the same
image tells what was touched: guards and read-only inputs must equal it, outputs must not.
"""

from __future__ import annotations

import fcntl
import mmap
import os

import torch

from daemon.errors import HarnessError
from daemon.executor.layout import Field, Layout

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class SharedMemory:
    """A sealed memfd and the judge's map of it, as a flat uint8 tensor. `fd` may be sent to a cell."""

    def __init__(self, size_bytes: int) -> None:
        self.fd = os.memfd_create("evald", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, max(size_bytes, mmap.PAGESIZE))
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
            self._map = mmap.mmap(self.fd, 0)
        except OSError as error:
            os.close(self.fd)
            raise HarnessError(f"cannot share {size_bytes} bytes of memory: {error}") from error
        self.bytes = torch.frombuffer(self._map, dtype=torch.uint8)

    def close(self) -> None:
        """Let go of the memory. Tensors made from `bytes` must not be used after this."""
        del self.bytes
        os.close(self.fd)
        try:
            self._map.close()
        except BufferError:
            return  # a tensor still points here: the map goes with it


def region(buffer: torch.Tensor, layout: Layout, slot: int, field: Field) -> torch.Tensor:
    """The bytes of one field as a tensor of its dtype and shape, over `buffer` (flat uint8 of the arena or its
    image)."""
    dtype = getattr(torch, field.tensor.dtype)
    if field.tensor.count == 0:
        return torch.empty(field.tensor.shape, dtype=dtype)
    start = layout.origin(slot) + field.offset
    return buffer[start : start + field.tensor.size_bytes].view(dtype).reshape(field.tensor.shape)


class Arena:
    """One side's slots: the shared memory and the private image of the same size."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.shared = SharedMemory(layout.total_bytes)
        self.image = torch.zeros(self.shared.bytes.numel(), dtype=torch.uint8)
        self._protected = _protected(layout)

    def close(self) -> None:
        self.shared.close()

    def compose(self, secret: torch.Generator, slots: int) -> None:
        """Fill the image of the first `slots` with secret random bytes: guards and poison; inputs are then written
        over them."""
        end = self.layout.origin(slots)
        words = self.image[self.layout.base : end].view(torch.int64)
        # 62 random bits a word: no byte pattern a kernel could know.
        words.random_(generator=secret)

    def place(self, slot: int, field: Field, value: torch.Tensor) -> None:
        """Write one input's content into the image."""
        if field.tensor.count:
            region(self.image, self.layout, slot, field).copy_(value)

    def publish(self, slots: int) -> None:
        """Copy the image of the first `slots` into the shared memory. The cell must be frozen."""
        end = self.layout.origin(slots)
        self.shared.bytes[:end].copy_(self.image[:end])

    def set_order(self, order: list[int]) -> None:
        """The slot numbers of the next round's calls, in order."""
        self.image[: 4 * len(order)].view(torch.int32).copy_(torch.tensor(order, dtype=torch.int32))

    def output(self, slot: int, field: Field) -> torch.Tensor:
        """What the cell left in a field. The cell must be frozen while this is used."""
        return region(self.shared.bytes, self.layout, slot, field)

    def pristine(self, slot: int, field: Field) -> torch.Tensor:
        """What the judge put there."""
        return region(self.image, self.layout, slot, field)

    def outputs(self, slots: list[int], field: Field) -> torch.Tensor:
        """What the cell left in one field of several slots: a private copy, [len(slots), *shape]."""
        return _gathered(self.layout, self.shared.bytes, slots, field)

    def pristines(self, slots: list[int], field: Field) -> torch.Tensor:
        """What the judge put there, as `outputs`."""
        return _gathered(self.layout, self.image, slots, field)

    def damage(self, slots: int) -> str | None:
        """Words for the first thing that was written and must not be (a guard, a read-only field); None when all
        stands."""
        ours, theirs = _grid(self.layout, self.image, slots), _grid(self.layout, self.shared.bytes, slots)
        for first, last in self._protected:
            if torch.equal(ours[:, first:last], theirs[:, first:last]):
                continue
            changed = (ours[:, first:last] != theirs[:, first:last]).any(dim=0)
            return self._name(first + int(changed.to(torch.uint8).argmax()))
        return None

    def _name(self, offset: int) -> str:
        before = [field for field in self.layout.fields if field.offset <= offset]
        if not before:
            return f"wrote outside its tensors, before {self.layout.fields[0].name}"
        nearest = before[-1]
        if offset < nearest.offset + nearest.tensor.size_bytes:
            return f"changed input {nearest.name}, which its contract does not call inout"
        return f"wrote outside its tensors, behind {nearest.name}"

    def unwritten(self, slots: list[int], field: Field) -> int:
        """How many elements of a poisoned field still hold the poison (one may match by chance: see
        `findings.by_chance`)."""
        return int((raw(self.outputs(slots, field)) == raw(self.pristines(slots, field))).sum())


def _grid(layout: Layout, buffer: torch.Tensor, slots: int) -> torch.Tensor:
    """The first `slots` as rows of bytes."""
    return buffer[layout.base : layout.origin(slots)].view(slots, layout.stride)


def _gathered(layout: Layout, buffer: torch.Tensor, slots: list[int], field: Field) -> torch.Tensor:
    dtype = getattr(torch, field.tensor.dtype)
    shape = (len(slots), *field.tensor.shape)
    if field.tensor.count == 0:
        return torch.empty(shape, dtype=dtype)
    rows = _grid(layout, buffer, layout.slots)[:, field.offset : field.offset + field.tensor.size_bytes]
    return rows[torch.tensor(slots)].contiguous().view(dtype).reshape(shape)


_RAW_TYPES = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def raw(tensor: torch.Tensor) -> torch.Tensor:
    """The same memory as integers: compares bit by bit, NaN and all."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.view(_RAW_TYPES[tensor.element_size()])


def _protected(layout: Layout) -> list[tuple[int, int]]:
    """(first, last) byte ranges inside a slot that no kernel may change: all but its writable fields."""
    ranges, cursor = [], 0
    for field in layout.fields:
        if field.writable:
            ranges.append((cursor, field.offset))
            cursor = field.offset + field.tensor.size_bytes
    ranges.append((cursor, layout.stride))
    return ranges
