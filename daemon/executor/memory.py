"""Memory that judge and cell share: a sealed memfd on a CPU, an allocation of its own behind CUDA IPC on a GPU.

Trusted side. A cell learns of it by `as_message` and `fds` and opens it with `mapping`.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import Protocol

import torch

from daemon.errors import DeviceError, HarnessError
from daemon.executor import driver
from daemon.executor.protocol import Message

_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class DeviceFull(HarnessError):  # noqa: N818 - a state of the device, whoever brought it about
    """The judge could not have the device memory it needs."""


class SharedMemory(Protocol):
    """`bytes`: the memory as a flat uint8 tensor. `fds` go to the cell together with the message."""

    bytes: torch.Tensor

    @property
    def fds(self) -> tuple[int, ...]: ...

    def as_message(self) -> Message:
        """What a cell needs to map it."""

    def close(self) -> None:
        """Let go of the memory. Tensors made from `bytes` must not be used after this."""


def share(device: str, size_bytes: int) -> SharedMemory:
    """At least `size_bytes` on `device` ("cpu" or "cuda"). Raises `DeviceFull`, `HarnessError`."""
    return HostMemory(size_bytes) if device == "cpu" else DeviceMemory(size_bytes)


class HostMemory:
    """A memfd, sealed so that a cell cannot pull it from under the judge, and the judge's map of it."""

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

    @property
    def fds(self) -> tuple[int, ...]:
        return (self.fd,)

    def as_message(self) -> Message:
        return {"kind": "memfd"}

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
            self._address = _allocated(size_bytes)
            self._handle = driver.export(self._address)
        except driver.DriverError as error:
            if error.is_out_of_memory:
                raise DeviceFull(f"no {size_bytes / 2**30:.1f} GiB of device memory to be had") from error
            raise DeviceError(f"cannot share device memory: {error}") from error
        self.bytes = driver.as_bytes(self._address, size_bytes)

    @property
    def fds(self) -> tuple[int, ...]:
        return ()

    def as_message(self) -> Message:
        return {"kind": "ipc", "handle": self._handle.hex(), "size": self.bytes.numel()}

    def close(self) -> None:
        self.bytes.zero_()
        torch.cuda.synchronize()
        del self.bytes
        driver.free(self._address)


def _allocated(size_bytes: int) -> int:
    """An allocation, at the cost of what torch keeps for later if it must be. Raises `DriverError`."""
    try:
        return driver.allocate(size_bytes)
    except driver.DriverError as error:
        if not error.is_out_of_memory:
            raise
    torch.cuda.empty_cache()
    return driver.allocate(size_bytes)
