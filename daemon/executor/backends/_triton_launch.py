"""A Triton kernel called on a GPU: tuned before the first call, its choice and its resources told afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from daemon.executor.backends._triton_binding import Binding, tuner_of
from daemon.executor.backends._triton_errors import COMPILE_ERRORS, compile_fault
from daemon.executor.source import Source


class GpuLaunch:
    """Calls the kernel on torch's current stream. Raises `KernelFault` (compile_error) where it does not compile."""

    def __init__(
        self, kernel: Any, grid: tuple[int, ...], binding: Binding, options: dict[str, Any], source: Source
    ) -> None:
        self._launch = kernel[grid]
        self._tuner = tuner_of(kernel)
        self._binding = binding
        self._options = options
        self._source = source
        self._compiled: Any = None
        self._untuned = self._tuner is not None and len(self._tuner.configs) > 1

    def __call__(self, *args: Any) -> None:
        if self._untuned:
            self._tune(args)
        self._run(args)

    def _run(self, args: Sequence[Any]) -> None:
        positional, named = self._binding.arrange(args)
        try:
            self._compiled = self._launch(*positional, **named, **self._options)
        except COMPILE_ERRORS as error:
            raise compile_fault(error, self._source) from error

    def _tune(self, args: Sequence[Any]) -> None:
        """Let `@autotune` try its configs on copies. They all run many times, and what they write must not reach the
        arguments of a real call. Where memory is short, the arguments themselves are used."""
        self._untuned = False
        try:
            copies = [arg.clone() if isinstance(arg, torch.Tensor) else arg for arg in args]
        except torch.OutOfMemoryError:
            return
        self._run(copies)
        torch.cuda.synchronize()
        del copies
        torch.cuda.empty_cache()

    def report(self) -> dict[str, Any]:
        """The config that tuning chose, and the registers, spills and shared memory of the kernel that ran last."""
        found: dict[str, Any] = {}
        if (best := getattr(self._tuner, "best_config", None)) is not None:
            found["config"] = {**best.kwargs, "num_warps": best.num_warps, "num_stages": best.num_stages}
        if self._compiled is not None:
            metadata = self._compiled.metadata
            found["resources"] = {
                "registers": self._compiled.n_regs,
                "spills": self._compiled.n_spills,
                "shared_bytes": metadata.shared,
                "num_warps": metadata.num_warps,
                "num_stages": metadata.num_stages,
            }
        return found
