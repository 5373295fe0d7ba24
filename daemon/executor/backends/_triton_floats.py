"""Narrow floats where Triton's interpreter runs a kernel.

It keeps bfloat16 as uint16, computes with the integers, and takes a whole number or a float64 that becomes one for its
bits. And it rounds to bfloat16 and float8 without a carry into the exponent (1.97 becomes 1). Here torch converts.
Arithmetic on bfloat16 is done in float32 and rounded once, as a GPU does it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

_WIDENED = ("binary_op", "unary_op")
_REDUCED = (("ReduceOps", "sum"), ("ScanOps", "cumsum"), ("ScanOps", "cumprod"))


def repair() -> None:
    """Correct the interpreter. Idempotent. An interpreter that is built otherwise than Triton 3.7's is left as it
    is."""
    from triton.runtime import interpreter

    builder: Any = interpreter.InterpreterBuilder
    is_known = all(hasattr(builder, name) for name in (*_WIDENED, "create_dot", "get_fp32", "cast_impl"))
    if hasattr(builder, "get_bf16") or not (is_known and hasattr(interpreter, "_convert_float")):
        return
    interpreter._convert_float = _converting(interpreter, interpreter._convert_float)
    _compute_in_float32(interpreter, builder)
    builder.cast_impl = _by_way_of_float32(builder.cast_impl)
    for owner, name in _REDUCED:
        found = getattr(interpreter, owner)
        setattr(found, name, _over_float32(getattr(found, name)))


def _converting(interpreter: Any, plain: Callable[..., Any]) -> Callable[..., Any]:
    """torch's conversions in place of `plain`."""
    import triton.language as tl

    torches = {
        tl.float64: torch.float64,
        tl.float32: torch.float32,
        tl.float16: torch.float16,
        tl.bfloat16: torch.bfloat16,
        tl.float8e5: torch.float8_e5m2,
        tl.float8e4nv: torch.float8_e4m3fn,
    }

    def convert(data: Any, source: Any, target: Any, mode: Any) -> Any:
        if source not in torches or target not in torches or mode == interpreter._ir.ROUNDING_MODE.RTZ:
            return plain(data, source, target, mode)
        given = torch.from_numpy(np.ascontiguousarray(data)).view(torches[source])
        if target in (tl.float8e5, tl.float8e4nv):  # a GPU saturates
            limit = torch.finfo(torches[target]).max
            given = given.float().clamp(-limit, limit)
        rounded = given.to(torches[target])
        return rounded.view(torch.uint8).numpy().view(f"uint{target.primitive_bitwidth}").reshape(data.shape)

    return convert


def _by_way_of_float32(plain: Callable[..., Any]) -> Callable[..., Any]:
    """Casts to bfloat16 of what is no float32. `plain` would keep the number as the bits."""
    import triton.language as tl

    def cast(self: Any, given: Any, target: Any) -> Any:
        if target.scalar == tl.bfloat16 and given.dtype.scalar not in (tl.float32, tl.bfloat16):
            given = plain(self, given, tl.float32)
        return plain(self, given, target)

    return cast


def _compute_in_float32(interpreter: Any, builder: Any) -> None:
    import triton.language as tl

    def is_narrow(handle: Any) -> bool:
        return isinstance(handle, interpreter.TensorHandle) and handle.dtype.scalar == tl.bfloat16

    def wide(self: Any, handle: Any) -> Any:
        return self.cast_impl(handle, tl.float32) if is_narrow(handle) else handle

    def widened(plain: Callable[..., Any]) -> Callable[..., Any]:
        def operate(self: Any, *args: Any) -> Any:
            if not any(map(is_narrow, args)):
                return plain(self, *args)
            found = plain(self, *[wide(self, arg) for arg in args])
            return found if found.data.dtype == bool else self.cast_impl(found, tl.bfloat16)

        return operate

    for name in _WIDENED:
        setattr(builder, name, widened(getattr(builder, name)))
    dot = builder.create_dot
    builder.create_dot = lambda self, a, b, d, *rest: dot(self, wide(self, a), wide(self, b), d, *rest)
    builder.get_bf16 = lambda self, value: self.cast_impl(self.get_fp32(value), tl.bfloat16)


def _over_float32(plain: Callable[..., Any]) -> Callable[..., Any]:
    import triton.language as tl

    def operate(self: Any, given: Any) -> Any:
        if given.dtype.scalar != tl.bfloat16:
            return plain(self, given)
        found = plain(self, given.to(tl.float32))
        return [one.to(tl.bfloat16) for one in found] if isinstance(found, list) else found.to(tl.bfloat16)

    return operate
