"""Memory that judge and cell share: a sealed memfd on a CPU, an allocation of its own behind a descriptor on a GPU.

A cell learns of it by `as_message` and `fds` and opens it with `mapping`.
"""

from __future__ import annotations

import fcntl
import itertools
import math
import mmap
import os
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Protocol

import torch

from daemon.errors import DeviceError, HarnessError
from daemon.executor.content.combs import Comb
from daemon.executor.sandbox import cgroup
from daemon.executor.shared import driver
from daemon.executor.shared.protocol import Message
from daemon.fsio import hint_of_room

_GIB = 1 << 30
_NUMBERS = itertools.count()
_COPIES = 2  # what is shared, and the image of what must be in it
_COMES_BACK_S, _LOOK_AGAIN_S = 5.0, 0.2
_MEMINFO = Path("/proc/meminfo")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class DeviceFull(HarnessError):  # noqa: N818 - a state of the device, whoever brought it about
    """The judge could not have the memory of the device, or host, that it needs."""


class HostTaken(DeviceFull):
    """This host has so much, and `lacking_bytes` of it are held by somebody now."""

    def __init__(self, message: str, lacking_bytes: float) -> None:
        super().__init__(message)
        self.lacking_bytes = lacking_bytes


class SharedMemory(Protocol):
    """`bytes`: the memory as a flat uint8 tensor. `fds` go to the cell together with the message."""

    bytes: torch.Tensor

    @property
    def fds(self) -> tuple[int, ...]: ...

    def as_message(self) -> Message:
        """What a cell needs to map it."""

    def samples(self, combs: Sequence[Comb]) -> SampledBytes:
        """Room for what is in these pieces of it."""

    def close(self) -> None:
        """Let go of the memory. Tensors made from `bytes` must not be used after this."""


class SampledBytes(Protocol):
    """Some pieces of shared memory. `content`: on the host, flat uint8, comb by comb. Both methods raise `DeviceError`.

    On a GPU no kernel is involved. What others run there is not waited for, except for their copies.
    """

    content: torch.Tensor

    def fetch(self) -> None:
        """The memory into `content`; done on return."""

    def put(self) -> None:
        """`content` into the memory; done on return."""


def share(device: str, size_bytes: int) -> SharedMemory:
    """At least `size_bytes` on `device` ("cpu" or "cuda"). Raises `DeviceFull`, `HarnessError`."""
    return HostMemory(size_bytes) if device == "cpu" else DeviceMemory(size_bytes)


class HostMemory:
    """A memfd, sealed so that a cell cannot pull it from under the judge, and the judge's map of it."""

    def __init__(self, size_bytes: int) -> None:
        _require_host_room(size_bytes)
        self.fd = os.memfd_create("evald", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self.fd, max(size_bytes, mmap.PAGESIZE))
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
            self._map = mmap.mmap(self.fd, 0)
        except OSError as error:
            os.close(self.fd)
            hint = hint_of_room(error)
            raise HarnessError(f"cannot share {size_bytes} bytes of memory: {error}", hint=hint) from error
        self.bytes = torch.frombuffer(self._map, dtype=torch.uint8)

    @property
    def fds(self) -> tuple[int, ...]:
        return (self.fd,)

    def as_message(self) -> Message:
        return {"kind": "memfd"}

    def samples(self, combs: Sequence[Comb]) -> SampledBytes:
        return _HostBytes(self.bytes, combs)

    def close(self) -> None:
        del self.bytes
        os.close(self.fd)
        try:
            self._map.close()
        except BufferError:
            return  # a tensor still points here: the map goes with it


class DeviceMemory:
    """A whole allocation on the GPU. Cleared before it is given back: the next owner of the pages reads zeros."""

    def __init__(self, size_bytes: int) -> None:
        size_bytes = max(size_bytes, 1)
        try:
            self._memory = _allocated(size_bytes)
            try:
                self._fd = driver.export(self._memory)
            except driver.DriverError:
                driver.free(self._memory)
                raise
        except driver.DriverError as error:
            if error.is_out_of_memory:
                raise DeviceFull(f"no {size_bytes / 2**30:.1f} GiB of device memory to be had") from error
            raise DeviceError(f"cannot share device memory: {error}") from error
        self._number = next(_NUMBERS)
        self.bytes = driver.as_bytes(self._memory.address, size_bytes)

    @property
    def fds(self) -> tuple[int, ...]:
        return (self._fd,)

    def as_message(self) -> Message:
        return {"kind": "device", "number": self._number, "size": self.bytes.numel()}

    def samples(self, combs: Sequence[Comb]) -> SampledBytes:
        return _DeviceBytes(self._memory.address, combs)

    def close(self) -> None:
        self.bytes.zero_()
        torch.cuda.synchronize()
        del self.bytes
        os.close(self._fd)
        driver.free(self._memory)


class _HostBytes:
    def __init__(self, memory: torch.Tensor, combs: Sequence[Comb]) -> None:
        self.content = torch.empty(sum(comb.size_bytes for comb in combs), dtype=torch.uint8)
        self._pairs, end = [], 0
        for comb in combs:
            start, end = end, end + comb.size_bytes
            self._pairs.append((comb.of(memory), self.content[start:end].view(comb.teeth, comb.width)))

    def fetch(self) -> None:
        for there, here in self._pairs:
            here.copy_(there)

    def put(self) -> None:
        for there, here in self._pairs:
            there.copy_(here)


class _DeviceBytes:
    def __init__(self, address: int, combs: Sequence[Comb]) -> None:
        self.content = torch.empty(sum(comb.size_bytes for comb in combs), dtype=torch.uint8, pin_memory=True)
        self._pieces, here = [], self.content.data_ptr()
        for comb in combs:
            self._pieces.append(driver.Rows(address + comb.start, comb.pitch, here, comb.width, comb.teeth))
            here += comb.size_bytes

    @cached_property
    def _fetching(self) -> driver.Copies:
        return driver.Copies(self._pieces, to_device=False)

    @cached_property
    def _putting(self) -> driver.Copies:
        return driver.Copies(self._pieces, to_device=True)

    def fetch(self) -> None:
        _make(self._fetching)

    def put(self) -> None:
        _make(self._putting)


def _make(copies: driver.Copies) -> None:
    """Raises `DeviceError`: no bundle's kernel runs in this process, so a failure here is the device's."""
    try:
        copies.make()
    except driver.DriverError as error:
        raise DeviceError(f"cannot copy to or from the device: {error}") from error


def _require_host_room(size_bytes: int) -> None:
    """Raises `DeviceFull` where this host has no memory for so much, `HostTaken` where it gets none back in a moment,
    as the memory of cells that have ended comes back. Otherwise the kernel would kill whoever wants too much of it, and
    others as well."""
    needed, deadline = _COPIES * size_bytes, time.monotonic() + _COMES_BACK_S
    while True:
        total, available = _host_memory()
        if needed > total:
            raise DeviceFull(f"{needed / _GIB:.1f} GiB of memory are needed, and this host has {total / _GIB:.1f} GiB")
        if needed <= available:
            return
        if time.monotonic() > deadline:
            message = (
                f"{needed / _GIB:.1f} GiB of memory are needed; others leave {available / _GIB:.1f} GiB of the "
                f"{total / _GIB:.1f} GiB of this host"
            )
            raise HostTaken(message, needed - available)
        time.sleep(_LOOK_AGAIN_S)


def _host_memory() -> tuple[float, float]:
    """In bytes: all that this process's cgroup allows, and what can be had without pushing anything out (proc(5),
    meminfo)."""
    found = {}
    with suppress(OSError, ValueError):
        for line in _MEMINFO.read_text("ascii").splitlines():
            name, _, value = line.partition(":")
            if name in ("MemTotal", "MemAvailable"):
                found[name] = int(value.split()[0]) * 1024.0
    return min(found.get("MemTotal", math.inf), cgroup.memory_limit()), found.get("MemAvailable", math.inf)


def _allocated(size_bytes: int) -> driver.Allocation:
    """An allocation. If it must be, torch gives up what it keeps for later. Raises `DriverError`."""
    try:
        return driver.allocate(size_bytes)
    except driver.DriverError as error:
        if not error.is_out_of_memory:
            raise
    torch.cuda.empty_cache()
    return driver.allocate(size_bytes)
