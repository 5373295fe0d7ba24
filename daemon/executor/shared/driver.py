"""The few calls of the CUDA driver that torch has no word for: memory of our own, sharing it with another process, and
copies of many short pieces.

Both sides use it. The context is torch's primary one: it must be current, which any CUDA call of torch sees to.
Source of all signatures: CUDA Driver API, "Memory Management" and "Virtual Memory Management".
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import torch

GRANULARITY = 2 << 20  # a share is a whole allocation: a smaller one would show its neighbours
_PINNED, _ON_DEVICE, _DESCRIPTOR, _READ_AND_WRITE = 1, 1, 1, 3  # CUmemAllocationType, CUmemLocationType, and so on
_HOST, _DEVICE = 1, 2  # CUmemorytype
_WIDEST_PITCH = (1 << 31) - 1
_OUT_OF_MEMORY = 2


class DriverError(Exception):
    """A driver call failed. `code` is the CUresult."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call}: {_name_of(code)}")
        self.code = code

    @property
    def is_out_of_memory(self) -> bool:
        return self.code == _OUT_OF_MEMORY


class _Location(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("id", ctypes.c_int))


class _Properties(ctypes.Structure):
    """CUmemAllocationProp."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("handle_types", ctypes.c_int),
        ("location", _Location),
        ("security", ctypes.c_void_p),
        ("flags", ctypes.c_ubyte * 8),
    )


class _Access(ctypes.Structure):
    """CUmemAccessDesc."""

    _fields_ = (("location", _Location), ("flags", ctypes.c_int))


@dataclass(frozen=True)
class Allocation:
    """Device memory as this process has it mapped, `size_bytes` from `address` on; `handle` is the driver's name of
    it."""

    address: int
    size_bytes: int
    handle: int


@functools.cache
def _library() -> ctypes.CDLL:
    torch.zeros(1, device="cuda")  # makes the primary context, and makes it current
    return ctypes.CDLL("libcuda.so.1")


def _name_of(code: int) -> str:
    text = ctypes.c_char_p()
    _library().cuGetErrorName(code, ctypes.byref(text))
    return text.value.decode() if text.value else f"CUresult {code}"


def _call(name: str, *args: Any) -> None:
    if code := getattr(_library(), name)(*args):
        raise DriverError(name, code)


def _here() -> _Location:
    return _Location(_ON_DEVICE, torch.cuda.current_device())


def allocate(size_bytes: int) -> Allocation:
    """A dedicated allocation of at least `size_bytes`, which can be exported. Raises `DriverError`."""
    handle, whole = ctypes.c_uint64(), _whole(size_bytes)
    wanted = _Properties(type=_PINNED, handle_types=_DESCRIPTOR, location=_here())
    _call("cuMemCreate", ctypes.byref(handle), ctypes.c_size_t(whole), ctypes.byref(wanted), ctypes.c_uint64(0))
    return _mapped(handle, whole)


def free(allocation: Allocation) -> None:
    """Unmap it and let go of it; it is gone when nobody has it mapped any more. Nothing may be at work on it."""
    _call("cuMemUnmap", ctypes.c_uint64(allocation.address), ctypes.c_size_t(allocation.size_bytes))
    _call("cuMemRelease", ctypes.c_uint64(allocation.handle))
    _call("cuMemAddressFree", ctypes.c_uint64(allocation.address), ctypes.c_size_t(allocation.size_bytes))


def export(allocation: Allocation) -> int:
    """A descriptor by which whoever has it may map this allocation. Handles of CUDA IPC would be numbers that follow
    one another, and anybody on the device may try them out."""
    descriptor, handle = ctypes.c_int(), ctypes.c_uint64(allocation.handle)
    _call("cuMemExportToShareableHandle", ctypes.byref(descriptor), handle, _DESCRIPTOR, ctypes.c_uint64(0))
    return descriptor.value


def open_export(descriptor: int, size_bytes: int) -> Allocation:
    """Map another process's allocation, of which `size_bytes` were asked for. The descriptor is not needed afterwards.
    Raises `DriverError`."""
    handle = ctypes.c_uint64()
    _call("cuMemImportFromShareableHandle", ctypes.byref(handle), ctypes.c_void_p(descriptor), _DESCRIPTOR)
    return _mapped(handle, _whole(size_bytes))


def _mapped(handle: ctypes.c_uint64, size_bytes: int) -> Allocation:
    """Lets go of `handle` where it cannot be mapped."""
    address, size, none = ctypes.c_uint64(), ctypes.c_size_t(size_bytes), ctypes.c_uint64(0)
    with ExitStack() as undo:
        undo.callback(_call, "cuMemRelease", handle)
        _call("cuMemAddressReserve", ctypes.byref(address), size, ctypes.c_size_t(0), none, none)
        undo.callback(_call, "cuMemAddressFree", address, size)
        _call("cuMemMap", address, size, ctypes.c_size_t(0), handle, none)
        undo.callback(_call, "cuMemUnmap", address, size)
        access = _Access(_here(), _READ_AND_WRITE)
        _call("cuMemSetAccess", address, size, ctypes.byref(access), ctypes.c_size_t(1))
        undo.pop_all()
    return Allocation(address.value, size_bytes, handle.value)


def _whole(size_bytes: int) -> int:
    return -(-size_bytes // GRANULARITY) * GRANULARITY


@dataclass(frozen=True)
class Rows:
    """`height` rows of `width` bytes: on the device `pitch` bytes apart from the address `device` on, on the host
    (pinned memory) one behind the other from `host` on."""

    device: int
    pitch: int
    host: int
    width: int
    height: int


def _end(name: str) -> list[tuple[str, Any]]:
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    kinds = {"x": size, "y": size, "type": ctypes.c_int, "host": pointer, "device": ctypes.c_uint64}
    return [(f"{name}_{what}", kind) for what, kind in {**kinds, "array": pointer, "pitch": size}.items()]


class _Copy2D(ctypes.Structure):
    """CUDA_MEMCPY2D."""

    _fields_ = (*_end("source"), *_end("target"), ("width", ctypes.c_size_t), ("height", ctypes.c_size_t))


class Copies:
    """Copies between host and device by its copy engines, on a stream that has no kernels. So no kernel runs, and none
    of others is waited for. Everything that can be is prepared when this is made."""

    def __init__(self, pieces: Iterable[Rows], *, to_device: bool) -> None:
        self._commands = [ctypes.byref(_command(rows, to_device)) for piece in pieces for rows in _narrow(piece)]
        self._stream = ctypes.c_void_p(_copying_stream().cuda_stream)

    def make(self) -> None:
        """Done on return. Raises `DriverError`."""
        for command in self._commands:
            _call("cuMemcpy2DAsync_v2", command, self._stream)
        _call("cuStreamSynchronize", self._stream)


def _command(rows: Rows, to_device: bool) -> _Copy2D:
    host, device = ("source", "target") if to_device else ("target", "source")
    values = {
        f"{host}_type": _HOST,
        f"{host}_host": rows.host,
        f"{host}_pitch": rows.width,
        f"{device}_type": _DEVICE,
        f"{device}_device": rows.device,
        f"{device}_pitch": rows.pitch,
    }
    return _Copy2D(**values, width=rows.width, height=rows.height)


def _narrow(rows: Rows) -> Iterator[Rows]:
    """In pieces of one row each, where rows are further apart than the driver takes."""
    if rows.pitch <= _WIDEST_PITCH:
        yield rows
        return
    for row in range(rows.height):
        device, host = rows.device + row * rows.pitch, rows.host + row * rows.width
        yield replace(rows, device=device, pitch=rows.width, host=host, height=1)


@functools.cache
def _copying_stream() -> torch.cuda.Stream:
    return torch.cuda.Stream()  # type: ignore[no-untyped-call]


def forget_persisting_lines() -> None:
    """Let lines that somebody had the L2 keep be replaced like any other."""
    _call("cuCtxResetPersistingL2Cache")


class _Span:
    """Device memory as other libraries describe it to torch (CUDA Array Interface, version 3)."""

    def __init__(self, address: int, size_bytes: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": (size_bytes,),
            "typestr": "|u1",
            "data": (address, False),
            "strides": None,
            "version": 3,
        }


def as_bytes(address: int, size_bytes: int) -> torch.Tensor:
    """A flat uint8 tensor over device memory it does not own."""
    return torch.as_tensor(_Span(address, size_bytes), device="cuda")
