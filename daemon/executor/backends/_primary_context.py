"""One CUDA context for everything in a cell: the primary one, which torch, CuPy and Triton use.

`pycuda.autoinit` would make a second context on the same GPU, in which torch's memory does not exist. It is therefore
answered with `pycuda.autoprimaryctx`, which offers the same names on the primary context.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

import torch

from daemon.executor.source import KernelFault


def has_pycuda() -> bool:
    """Whether PyCUDA is installed."""
    return importlib.util.find_spec("pycuda") is not None


def share_primary_context() -> Any:
    """Make the primary context PyCUDA's current one, now and for a later `import pycuda.autoinit`. Returns the module
    `pycuda.driver`. Idempotent; raises `KernelFault` (unsupported) without PyCUDA."""
    torch.cuda.init()  # type: ignore[no-untyped-call]
    try:
        primary = importlib.import_module("pycuda.autoprimaryctx")
    except ImportError as error:
        raise KernelFault(
            "unsupported", f"no PyCUDA on this machine ({error}): pip install 'evald[gpu]' to run `cuda` kernels"
        ) from error
    sys.modules["pycuda.autoinit"] = primary
    return importlib.import_module("pycuda.driver")
