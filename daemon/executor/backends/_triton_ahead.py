"""Compiles a Triton kernel for a GPU that is not there.

Theory of operation: a driver that knows the GPU's architecture and nothing else is made the active one, and the
kernel is launched in warm-up mode with tensors on torch's `meta` device. What decides a compilation is the dtype of a
tensor, whether its address is a multiple of 16 (a meta tensor's is 0, the arena's are multiples of 256), and the
values of the scalars; all of it comes from the contract. So the cache entry has the very key that the launch in the
candidate cell looks for. Where that fails, the candidate cell compiles by itself: nothing but time is lost.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.driver import DriverBase

from daemon.executor.backends._triton_binding import Binding, tuner_of

_CONFIGS_AT_MOST = 32
_THREADS_AT_MOST = 8
_WARP_SIZE = 32


class AbsentGpu(DriverBase):  # type: ignore[misc]  # triton has no types
    """A Triton driver for a GPU of compute capability `capability` ("9.0") that cannot be reached."""

    def __init__(self, capability: str) -> None:
        super().__init__()
        self._target = GPUTarget("cuda", int(capability.replace(".", "")), _WARP_SIZE)

    @classmethod
    def is_active(cls) -> bool:
        """It is made active by hand only."""
        return True

    def get_current_target(self) -> Any:
        return self._target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, _device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)

    def map_python_to_cpp_type(self, ty: str) -> str:
        from triton.backends.nvidia.driver import ty_to_cpp

        return str(ty_to_cpp(ty))

    def get_benchmarker(self) -> Callable[..., Any]:
        raise RuntimeError("nothing can be timed without a GPU")

    @cached_property
    def utils(self) -> Any:
        """The C helper of the real driver: compiled and loaded without a GPU, as long as libcuda is there."""
        from triton.backends.nvidia.driver import CudaUtils

        return CudaUtils()


def use_absent_gpu(capability: str) -> None:
    """Make Triton compile for `capability` in this process, from now on."""
    triton.runtime.driver.set_active(AbsentGpu(capability))


class _Recorder(ThreadPoolExecutor):
    """A thread pool that remembers what it was given."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.futures: list[Future[Any]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future = super().submit(fn, *args, **kwargs)
        self.futures.append(future)
        return future


def compile_all(
    kernel: Any, binding: Binding, args: Sequence[dict[str, Any]], grid: tuple[int, ...], options: dict[str, Any]
) -> tuple[list[Any], list[BaseException]]:
    """Compile the kernel, once per config where it is tuned (the first 32). Returns what was compiled and what was
    not, by the error."""
    positional, named = binding.arrange([stand_in(arg) for arg in args])
    launch = {**named, **options}
    tuner = tuner_of(kernel)
    with _Recorder(max(1, min(_THREADS_AT_MOST, len(os.sched_getaffinity(0))))) as pool:
        with triton.AsyncCompileMode(pool, ignore_errors=True):
            for config in [None] if tuner is None else _worthwhile(tuner, positional, launch):
                if tuner is not None:
                    tuner.configs = [config]  # a single config is not timed
                kernel.run(*positional, grid=grid, warmup=True, **launch)
        errors = [future.exception() for future in pool.futures]
        compiled = [future.result() for future, error in zip(pool.futures, errors, strict=True) if error is None]
    return compiled, [error for error in errors if error is not None]


def _worthwhile(tuner: Any, positional: Sequence[Any], launch: dict[str, Any]) -> list[Any]:
    """The configs that the tuner's own pruning leaves. That is code of the user's, and it wants to see the
    arguments."""
    tuner.nargs = dict(zip(tuner.arg_names, positional, strict=False))
    return list(tuner.prune_configs(launch))[:_CONFIGS_AT_MOST]


def stand_in(arg: dict[str, Any]) -> Any:
    """What stands for an argument while compiling: a tensor without memory, or the scalar itself."""
    if arg["type"] != "tensor":
        return arg["value"]
    return torch.empty(arg["shape"], dtype=getattr(torch, arg["dtype"]), device="meta")


def prepare_launcher(compiled: Any) -> bool:
    """Compile the C code that launches `compiled` as well (Triton caches it beside the kernels). It is linked with
    libcuda, which a cell without a GPU may lack. Then the candidate cell compiles it."""
    from triton.backends.nvidia.driver import CudaLauncher

    try:
        triton.runtime.driver.active.utils  # noqa: B018 - makes it
        CudaLauncher(compiled.src, compiled.metadata)
    except (AssertionError, AttributeError, OSError, ImportError, RuntimeError, subprocess.CalledProcessError):
        return False
    return True
