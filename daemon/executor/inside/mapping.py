"""The cell's map of memory that the judge shares with it."""

from __future__ import annotations

import mmap
from typing import Any

import torch

from daemon.executor.shared import driver
from daemon.executor.shared.protocol import Message


class Mapping:
    """Tensors over shared memory, until `close`. `message` is what `SharedMemory.as_message` said."""

    def __init__(self, message: Message, fds: list[int]) -> None:
        self._host: mmap.mmap | None = None
        self._device_memory: driver.Allocation | None = None
        self._bytes: torch.Tensor | None = None
        if message["kind"] == "memfd":
            self._host = mmap.mmap(fds[0], 0)
        else:
            self._device_memory = driver.open_export(fds[0], message["size"])
            self._bytes = driver.as_bytes(self._device_memory.address, message["size"])

    @property
    def device(self) -> str:
        return "cpu" if self._bytes is None else "cuda"

    def tensor(self, dtype: torch.dtype, shape: Any, offset: int) -> torch.Tensor:
        """A tensor at `offset` bytes. On a CPU its storage ends where it does: Triton's interpreter copies whole
        storages."""
        count = 1
        for extent in shape:
            count *= extent
        if count == 0:
            return torch.empty(shape, dtype=dtype, device=self.device)
        if self._host is not None:
            return torch.frombuffer(self._host, dtype=dtype, count=count, offset=offset).reshape(shape)
        assert self._bytes is not None
        size = count * dtype.itemsize
        return self._bytes[offset : offset + size].view(dtype).reshape(shape)

    def close(self) -> None:
        """Unmap. Tensors over it must not be used any more (on a CPU they keep it alive)."""
        if self._host is not None:
            try:
                self._host.close()
            except BufferError:
                return
        elif self._device_memory is not None:
            torch.cuda.synchronize()
            self._bytes = None
            driver.free(self._device_memory)
            self._device_memory = None


class Apart:
    """Tensors as `Mapping` gives them, each copied into an allocation of its own: what lies beside a tensor is then
    nobody's, and a sanitizer sees who goes there. Those at the offsets `blank` have no content at all."""

    def __init__(self, shared: Mapping, blank: set[int]) -> None:
        self.device = shared.device
        self._shared = shared
        self._blank = blank

    def tensor(self, dtype: torch.dtype, shape: Any, offset: int) -> torch.Tensor:
        """By way of the host: a copy from the device's memory may pass for one of nothing."""
        source = self._shared.tensor(dtype, shape, offset)
        if offset in self._blank:
            return torch.empty_like(source)
        return source.cpu().to(self.device, copy=True)
