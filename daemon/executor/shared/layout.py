"""Where every tensor of every slot lies in a shared buffer. Pure arithmetic: no torch, no memory.

```
| slot 0: guard field guard field guard | slot 1: … |
```
A slot holds one call's inputs and outputs. Guard bars stand before, between and behind the fields.
"""

from __future__ import annotations

from dataclasses import dataclass

ALIGN_BYTES = 512  # as torch's allocator on GPUs, and as textures have to be
GUARD_BYTES = 512
EXPORT_STEP = 64  # where tensors begin that leave a cell or come into it one behind the other
ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
}


@dataclass(frozen=True)
class TensorShape:
    """dtype by the contract's name, and extents."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def count(self) -> int:
        count = 1
        for extent in self.shape:
            count *= extent
        return count

    @property
    def size_bytes(self) -> int:
        return self.count * ITEM_BYTES[self.dtype]


@dataclass(frozen=True)
class Field:
    """One tensor of a slot. `offset` in bytes from the slot's start. `writable`: the kernel may change it."""

    name: str
    tensor: TensorShape
    offset: int
    writable: bool
    poisoned: bool  # starts as random bytes that the kernel must replace


@dataclass(frozen=True)
class Layout:
    """Fields of a slot, how far slots are apart, and how many there are. All bytes."""

    fields: tuple[Field, ...]
    slots: int
    stride: int

    @property
    def total_bytes(self) -> int:
        return self.slots * self.stride

    @property
    def footprint_bytes(self) -> int:
        """What the tensors alone of all slots take."""
        return self.slots * sum(field.tensor.size_bytes for field in self.fields)

    def origin(self, slot: int) -> int:
        return slot * self.stride


def aligned(size: int, step: int = ALIGN_BYTES) -> int:
    """`size` rounded up to a multiple of `step`, both bytes."""
    return -(-size // step) * step


def slot_stride(tensors: list[TensorShape]) -> int:
    """Bytes one slot takes, guard bars included."""
    return GUARD_BYTES + sum(aligned(tensor.size_bytes) + GUARD_BYTES for tensor in tensors)


def plan(fields: list[tuple[str, TensorShape, bool, bool]], slots: int) -> Layout:
    """Lay out (name, tensor, writable, poisoned) for `slots` calls."""
    offset = GUARD_BYTES
    placed = []
    for name, tensor, writable, poisoned in fields:
        placed.append(Field(name, tensor, offset, writable, poisoned))
        offset += aligned(tensor.size_bytes) + GUARD_BYTES
    return Layout(tuple(placed), slots, offset)
