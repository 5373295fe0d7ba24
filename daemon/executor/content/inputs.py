"""Drawing tensors from a contract's init, each with a generator of its own: seeds are the judge's secret."""

from __future__ import annotations

import functools
import hashlib
import math
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from daemon.contract import InitKind, InitSpec, TensorSpec, decode_tensor

_INT64_RANGE = 1_000_000
_AT_ONCE = 1 << 26  # elements: whatever they become, numbers are drawn up to eight bytes wide
_Drawer = Callable[[InitSpec, tuple[int, ...], torch.dtype, torch.Generator], torch.Tensor]
_BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Secret:
    """The evaluation's seed: drawn here, kept in this process, never sent. Each derived seed depends on all of its
    `path`. `device` ("cpu", "cuda"): where content is drawn."""

    def __init__(self, device: str = "cpu") -> None:
        self._key = os.urandom(32)
        self.device = device

    def seed(self, *path: object) -> int:
        """A 63-bit seed for one purpose, e.g. ("input", round, slot, name)."""
        digest = hashlib.blake2b("/".join(map(str, path)).encode(), key=self._key, digest_size=8).digest()
        return int.from_bytes(digest, "little") >> 1

    def generator(self, *path: object) -> torch.Generator:
        """A generator on the device."""
        return torch.Generator(self.device).manual_seed(self.seed(*path))

    def host_generator(self, *path: object) -> torch.Generator:
        """A generator for what the judge decides: orders, counts, positions."""
        return torch.Generator().manual_seed(self.seed(*path))


def is_fixed(spec: TensorSpec) -> bool:
    """Whether the contract itself determines the content: the same in every trial, so a kernel may know it."""
    if spec.data is not None or spec.init is None or spec.init.kind not in ("randn", "uniform"):
        return True
    dtype, init = getattr(torch, spec.dtype), spec.init
    if dtype is torch.bool:
        return False
    if init.kind == "randn":
        return init.std == 0 and (dtype.is_floating_point or dtype.is_complex)
    return init.low is not None and init.low == init.high


def draw(spec: TensorSpec, generator: torch.Generator, *count: int) -> torch.Tensor:
    """One tensor [*count, *spec.shape] of `spec.dtype` (symbols resolved), on the generator's device. With a count the
    spec must be random: what is fixed is drawn once."""
    dtype = getattr(torch, spec.dtype)
    shape = (*count, *spec.dims)
    if spec.data is not None:
        return _embedded(spec, dtype, shape).to(generator.device)
    if spec.init is None or 0 in shape:  # with no elements, another dimension may be longer than any memory
        return torch.zeros(shape, dtype=dtype, device=generator.device)
    with generator.device:
        return _DRAWERS[spec.init.kind](spec.init, shape, dtype, generator)


def _embedded(spec: TensorSpec, dtype: torch.dtype, shape: tuple[int, ...]) -> torch.Tensor:
    assert spec.data is not None
    payload = decode_tensor(spec.data, spec.nbytes)
    if not payload:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(payload), dtype=torch.uint8).view(dtype).reshape(shape)


def _by_piece(drawer: _Drawer) -> _Drawer:
    """As `drawer`, which draws each element by itself, but piece by piece. The memory in which numbers are drawn is up
    to eight times as large as the result, and nobody checks whether a large tensor leaves that much."""

    def drawn(init: InitSpec, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
        if (count := math.prod(shape)) <= _AT_ONCE:
            return drawer(init, shape, dtype, generator)
        whole = torch.empty(count, dtype=dtype)
        for first in range(0, count, _AT_ONCE):
            piece = whole[first : first + _AT_ONCE]
            piece.copy_(drawer(init, tuple(piece.shape), dtype, generator))
        return whole.reshape(shape)

    return drawn


def _randn(init: InitSpec, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """Normal; on integers uniform over the full range (int64: +-1e6), on bool 0 or 1."""
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).to(torch.bool)
    if not (dtype.is_floating_point or dtype.is_complex):
        return _full_range(shape, dtype, generator)
    wide = dtype if dtype in (torch.float64, torch.complex64) else torch.float32
    tensor = torch.randn(shape, generator=generator, dtype=wide)
    if init.std is not None:
        tensor *= float(init.std)
    if init.mean is not None:
        tensor += float(init.mean)
    return tensor.to(dtype)


def _full_range(shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    if dtype in (torch.int64, torch.uint64):
        low = 0 if dtype is torch.uint64 else -_INT64_RANGE
        return torch.randint(low, _INT64_RANGE + 1, shape, generator=generator).to(dtype)
    limits = torch.iinfo(dtype)
    return torch.randint(limits.min, limits.max + 1, shape, generator=generator, dtype=torch.int64).to(dtype)


def _uniform(init: InitSpec, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator) -> torch.Tensor:
    """[low, high) for floats (default 0, 1), for both parts of a complex number; inclusive for integers (default 0,
    100)."""
    if dtype is torch.bool:
        return torch.randint(0, 2, shape, generator=generator).to(torch.bool)
    if not (dtype.is_floating_point or dtype.is_complex):
        low = 0 if init.low is None else int(init.low)
        high = 100 if init.high is None else int(init.high)
        if high >= torch.iinfo(torch.int64).max:
            return _wide_range(low, high, shape, dtype, generator)
        return torch.randint(low, high + 1, shape, generator=generator, dtype=torch.int64).to(dtype)
    low_f = 0.0 if init.low is None else float(init.low)
    high_f = 1.0 if init.high is None else float(init.high)
    if dtype.is_complex:
        parts = _uniform(init, (*shape, 2), torch.empty((), dtype=dtype).real.dtype, generator)
        return torch.view_as_complex(parts)
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    unit = torch.rand(shape, generator=generator, dtype=wide)
    apart = high_f - low_f
    drawn = unit.mul_(apart).add_(low_f) if apart <= torch.finfo(wide).max else low_f * (1 - unit) + high_f * unit
    least, greatest = _least_from(low_f, dtype), -_least_from(-high_f, dtype, beyond=True)
    return drawn.clamp_(least, max(least, greatest)).to(dtype)


@functools.cache
def _least_from(bound: float, dtype: torch.dtype, *, beyond: bool = False) -> float:
    """The least number of a floating-point dtype that is at least `bound`, or above it. What is drawn is rounded, and
    might be rounded below the bound."""
    nearest = torch.tensor(bound, dtype=torch.float64, device="cpu").to(dtype)
    found = float(nearest.double())
    if found > bound or (found == bound and not beyond):
        return found
    whole = _BITS[dtype.itemsize]
    if found == 0:
        return float(torch.ones((), dtype=whole, device="cpu").view(dtype).double())
    step = 1 if found > 0 else -1
    return float((nearest.view(whole) + step).view(dtype).double())


def _wide_range(
    low: int, high: int, shape: tuple[int, ...], dtype: torch.dtype, generator: torch.Generator
) -> torch.Tensor:
    """Bounds that torch.randint cannot hold: it wants `high + 1` as int64."""
    seed = int(torch.randint(0, 2**62, (), generator=generator))
    unsigned = dtype is torch.uint64
    count, kind = math.prod(shape), np.uint64 if unsigned else np.int64
    drawn = np.random.default_rng(seed).integers(low, high, count, kind, endpoint=True)
    return torch.from_numpy(drawn).to(generator.device, dtype).reshape(shape)  # numpy has 64 dimensions at most


def _zeros(_: InitSpec, shape: tuple[int, ...], dtype: torch.dtype, __: torch.Generator) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype)


def _ones(_: InitSpec, shape: tuple[int, ...], dtype: torch.dtype, __: torch.Generator) -> torch.Tensor:
    return torch.ones(shape, dtype=dtype)


def _full(init: InitSpec, shape: tuple[int, ...], dtype: torch.dtype, _: torch.Generator) -> torch.Tensor:
    return _filled(init.fill_value, shape, dtype)


def _filled(value: Any, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """A tensor of one value, exact for every dtype: integers never pass through a float, and uint64 keeps its upper
    half."""
    if dtype is torch.uint64:
        value = int(value)
        signed = value - (1 << 64) if value >> 63 else value
        return torch.full(shape, signed, dtype=torch.int64).view(torch.uint64)
    return torch.full(shape, value, dtype=dtype)


def _arange(init: InitSpec, shape: tuple[int, ...], dtype: torch.dtype, _: torch.Generator) -> torch.Tensor:
    """start, start + step, … along the last dimension, the same in every row."""
    start: Any = init.start or 0
    step: Any = 1 if init.step is None else init.step
    if not shape:
        return _filled(start, shape, dtype)
    wide = torch.int64 if isinstance(start, int) and isinstance(step, int) else torch.float64
    row = torch.empty(shape[-1], dtype=dtype)
    for first in range(0, shape[-1], _AT_ONCE):
        beyond = min(first + _AT_ONCE, shape[-1])
        row[first:beyond] = torch.arange(first, beyond, dtype=wide) * step + start
    return row.expand(shape).contiguous()


_DRAWERS: dict[InitKind, _Drawer] = {
    InitKind.RANDN: _by_piece(_randn),
    InitKind.UNIFORM: _by_piece(_uniform),
    InitKind.ZEROS: _zeros,
    InitKind.ONES: _ones,
    InitKind.FULL: _full,
    InitKind.ARANGE: _arange,
}
