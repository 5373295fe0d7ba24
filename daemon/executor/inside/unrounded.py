"""A call in which nothing is rounded to less than float64, for the exact answer of a source that rounds by itself:
`(x @ w).bfloat16()`, `torch.zeros(n, dtype=torch.float32)`."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

_WIDE = {
    torch.bfloat16: torch.float64,
    torch.float16: torch.float64,
    torch.float32: torch.float64,
    torch.complex32: torch.complex128,
    torch.complex64: torch.complex128,
}
_READS_BITS = torch.ops.aten.view.dtype


class Unrounded(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is entered, whatever is to become a narrow float becomes a float64, and a narrow complex number a
    complex128.

    Left alone are float8, for whoever asks for it wants to quantise; random numbers, which would be others; bits that
    are read as another dtype; and what has its dtype from elsewhere, as a constant or an array of numpy's has.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """torch asks; to keep its compiler off this class it would import it, which takes seconds."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """`func` with another dtype, where it names one."""
        named = kwargs or {}
        if func is _READS_BITS or torch.Tag.nondeterministic_seeded in func.tags:
            return func(*args, **named)
        return func(*map(_wide, args), **{name: _wide(value) for name, value in named.items()})


def _wide(value: Any) -> Any:
    return _WIDE.get(value, value) if isinstance(value, torch.dtype) else value
