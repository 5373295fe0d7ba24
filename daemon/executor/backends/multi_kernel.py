"""`multi_kernel`: a Python module whose entry point mixes torch, Triton and CUDA."""

from __future__ import annotations

from contextlib import suppress

import torch
from torch import nn

from daemon.executor.backends._primary_context import has_pycuda, share_primary_context
from daemon.executor.backends._triton_untuned import use_first_configs
from daemon.executor.source import Kernel, KernelFault, Source, import_source, named

SPEC = {
    "io_required": True,
    "metadata_keys": ["entry_point"],
    "metadata_required": ["entry_point"],
    "python": True,
    "build": [],
    "answers": "either",
    "devices": ["cpu", "cuda"],
}


def load(source: Source) -> Kernel:
    """Import the file and take its entry point. Its return value, or its output arguments, are the answer."""
    if source.device == "cuda" and has_pycuda():
        with suppress(KernelFault):  # a source that does not use PyCUDA does not need one that works
            share_primary_context()
    module = import_source(source, {"torch": torch, "nn": nn})
    name = source.metadata["entry_point"]
    entry = named(module, name)
    if not callable(entry):
        own = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise KernelFault("compile_error", f"no entry point {name!r} in the source; callable names: {', '.join(own)}")
    return Kernel(entry, notes=use_first_configs(source))
