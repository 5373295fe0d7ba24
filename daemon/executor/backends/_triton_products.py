"""Sizes of `tl.dot` where Triton's interpreter runs a kernel: it took any, and a GPU takes none whose inner one is
below 16 (of bytes 32).
"""

from __future__ import annotations

_CAPABILITY, _WARP_SIZE = 80, 32  # of any GPU that evald judges on


def repair() -> None:
    """Have the interpreter refuse what the compiler refuses. Idempotent; where either is built in another way than it
    was in Triton 3.7, it is left as it is."""
    from triton.runtime import interpreter

    try:
        from triton.backends.compiler import GPUTarget
        from triton.backends.nvidia.compiler import min_dot_size

        sizes = interpreter.interpreter_builder.codegen_fns
    except (ImportError, AttributeError):
        return
    if "min_dot_size" in sizes:
        sizes["min_dot_size"] = min_dot_size(GPUTarget("cuda", _CAPABILITY, _WARP_SIZE))
