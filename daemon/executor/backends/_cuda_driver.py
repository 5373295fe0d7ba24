"""Launches that PyCUDA has no word for, clusters and cooperative grids, through the driver's own cuLaunchKernelEx.

CUDA driver API, "Module Management" and "Execution Control"; numbers and layouts are those of `cuda.h` 13.0. All of
it happens in the current context, which is the primary one by then.
"""

from __future__ import annotations

import ctypes
import math

from daemon.executor.backends._cuda_limits import Launch
from daemon.executor.source import KernelFault

_COOPERATIVE, _CLUSTER_DIMENSION = 2, 4  # CUlaunchAttributeID
_MAX_DYNAMIC_SHARED, _NON_PORTABLE_CLUSTER = 8, 14  # CUfunction_attribute
_END, _BUFFER_POINTER, _BUFFER_SIZE = 0, 1, 2  # CU_LAUNCH_PARAM_…
_PORTABLE_CLUSTER = 8
_OUT_OF_MEMORY, _COOPERATIVE_TOO_LARGE = 2, 720  # CUresult


class Attribute(ctypes.Structure):
    """CUlaunchAttribute: an id, then a union of 64 bytes, of which the first three numbers are used here."""

    _fields_ = (("id", ctypes.c_uint), ("pad", ctypes.c_uint), ("value", ctypes.c_uint * 16))


class Config(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = (
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("shared_bytes", ctypes.c_uint),
        ("stream", ctypes.c_void_p),
        ("attributes", ctypes.POINTER(Attribute)),
        ("attribute_count", ctypes.c_uint),
    )


def attributes_of(launch: Launch) -> list[Attribute]:
    """The launch attributes that `launch` asks for."""
    found = []
    if launch.cluster is not None:
        found.append(Attribute(_CLUSTER_DIMENSION, 0, (ctypes.c_uint * 16)(*launch.cluster)))
    if launch.cooperative:
        found.append(Attribute(_COOPERATIVE, 0, (ctypes.c_uint * 16)(1)))
    return found


class DriverFunction:
    """A kernel of a cubin, loaded by the driver into the current context, with one fixed launch."""

    def __init__(self, cubin: bytes, symbol: str, launch: Launch) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._launch = launch
        self._cubin = cubin
        self._module, self._function = ctypes.c_void_p(), ctypes.c_void_p()
        self._expect(self._cuda.cuModuleLoadData(ctypes.byref(self._module), cubin), "compile_error")
        self._expect(
            self._cuda.cuModuleGetFunction(ctypes.byref(self._function), self._module, symbol.encode()),
            "compile_error",
        )
        self._set(_MAX_DYNAMIC_SHARED, launch.shared_bytes)
        if launch.cluster is not None and math.prod(launch.cluster) > _PORTABLE_CLUSTER:
            self._set(_NON_PORTABLE_CLUSTER, 1)
        given = attributes_of(launch)
        self._attributes = (Attribute * len(given))(*given)
        self._config = Config(
            (ctypes.c_uint * 3)(*launch.grid),
            (ctypes.c_uint * 3)(*launch.block),
            launch.shared_bytes,
            None,
            self._attributes,
            len(given),
        )

    def __call__(self, stream: int, packed: bytes) -> None:
        """Queue one launch with the parameter buffer `packed` on `stream`, a CUstream."""
        self._config.stream = stream
        size = ctypes.c_size_t(len(packed))
        buffer = ctypes.c_char_p(packed)
        extra = (ctypes.c_void_p * 5)(
            _BUFFER_POINTER, ctypes.cast(buffer, ctypes.c_void_p), _BUFFER_SIZE, ctypes.addressof(size), _END
        )
        status = self._cuda.cuLaunchKernelEx(ctypes.byref(self._config), self._function, None, extra)
        if status:
            self._expect(status, "runtime_error")

    def _set(self, attribute: int, value: int) -> None:
        self._expect(self._cuda.cuFuncSetAttribute(self._function, attribute, value), "runtime_error")

    def _expect(self, status: int, verdict: str) -> None:
        if not status:
            return
        text = ctypes.c_char_p()
        self._cuda.cuGetErrorString(status, ctypes.byref(text))
        said = (text.value or b"").decode() or f"CUDA error {status}"
        if status == _COOPERATIVE_TOO_LARGE:
            said += f"; {self._resident_blocks()} blocks of it fit on each multiprocessor at once"
        verdict = "out_of_memory" if status == _OUT_OF_MEMORY else verdict
        raise KernelFault(verdict, f"{said} ({self._launch})")

    def _resident_blocks(self) -> int:
        count = ctypes.c_int()
        threads, shared = math.prod(self._launch.block), ctypes.c_size_t(self._launch.shared_bytes)
        self._cuda.cuOccupancyMaxActiveBlocksPerMultiprocessor(ctypes.byref(count), self._function, threads, shared)
        return count.value
