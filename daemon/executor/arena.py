"""Shared memory between judge and cell, and the judge's private image of what must be in it.

Theory of operation: the arena is one memfd per side, sealed against shrinking so that a cell cannot pull it from under the judge.
Before a round the judge composes the whole truth in a private *image* (fresh inputs, random poison in the outputs, random guard
bars), then copies it into the arena while the cell is frozen. After the round the same image tells what was touched: guards and
read-only inputs must equal it, outputs must not.
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
    """The bytes of one field as a tensor of its dtype and shape, over `buffer` (flat uint8 of the arena or its image)."""
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
        self._guards = _guard_mask(layout)

    def close(self) -> None:
        self.shared.close()

    def compose(self, secret: torch.Generator, slots: int) -> None:
        """Fill the image of the first `slots` with secret random bytes: guards and poison; inputs are then written over them."""
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

    def damaged_guard(self, slots: int) -> str | None:
        """The first place outside every field that was written, in words; None when all guards stand."""
        for slot in range(slots):
            start = self.layout.origin(slot)
            ours = self.image[start : start + self.layout.stride]
            theirs = self.shared.bytes[start : start + self.layout.stride]
            for first, last in self._guards:
                if not torch.equal(ours[first:last], theirs[first:last]):
                    return self._name_guard(first)
        return None

    def _name_guard(self, offset: int) -> str:
        before = [field for field in self.layout.fields if field.offset < offset]
        return f"behind {before[-1].name}" if before else f"before {self.layout.fields[0].name}"

    def changed_input(self, slots: int) -> str | None:
        """The name of a read-only field the kernel changed, or None."""
        for field in self.layout.fields:
            if field.writable:
                continue
            for slot in range(slots):
                ours, theirs = self.pristine(slot, field), self.output(slot, field)
                if not torch.equal(_raw(ours), _raw(theirs)):
                    return field.name
        return None

    def unwritten(self, slot: int, field: Field) -> int:
        """How many elements of a poisoned field still hold the poison (one-byte elements may match by chance: see `verify`)."""
        return int((_raw(self.output(slot, field)) == _raw(self.pristine(slot, field))).sum())


_RAW_TYPES = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def _raw(tensor: torch.Tensor) -> torch.Tensor:
    """The same memory as integers: compares bit by bit, NaN and all."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return tensor.view(_RAW_TYPES[tensor.element_size()])


def _guard_mask(layout: Layout) -> list[tuple[int, int]]:
    """(first, last) byte ranges inside a slot that belong to no field."""
    ranges, cursor = [], 0
    for field in layout.fields:
        ranges.append((cursor, field.offset))
        cursor = field.offset + field.tensor.size_bytes
    ranges.append((cursor, layout.stride))
    return ranges
