"""Constants on the left of a tensor where Triton's interpreter runs a kernel.

`tl.exp(SCALE * x)`, with `SCALE = tl.constexpr(…)` as a GPU wants it, is a tensor to Triton's compiler. The interpreter
makes a constant of it that holds a tensor, and few functions of `tl` take that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

_ARITHMETIC = ("add", "sub", "mul", "mod", "truediv", "floordiv", "and", "or", "xor", "lshift", "rshift")
_COMPARISONS = ("lt", "le", "gt", "ge", "eq", "ne")


def repair() -> None:
    """Make a tensor of what is computed with one. Idempotent."""
    import triton.language as tl

    for name in (f"__{name}__" for name in (*_ARITHMETIC, *_COMPARISONS)):
        plain = vars(tl.constexpr).get(name)
        if plain is not None and not hasattr(plain, "__wrapped__"):
            setattr(tl.constexpr, name, _unwrapping(plain, tl.tensor))


def _unwrapping(plain: Callable[..., Any], tensor: type) -> Callable[..., Any]:
    @functools.wraps(plain)
    def operate(self: Any, other: Any) -> Any:
        found = plain(self, other)
        value = getattr(found, "value", None)
        return value if isinstance(value, tensor) else found

    return operate
