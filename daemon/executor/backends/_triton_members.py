"""`x.exp()` and the like where Triton's interpreter runs a kernel.

To Triton's compiler a function of `tl.math` that is called on a tensor is `tl.exp(x)`. The interpreter has no such
methods: Triton marks the functions as its own after it has made methods of them.
"""

from __future__ import annotations

import inspect

_OWN = "_semantic"  # the parameter that Triton's own functions have


def repair() -> None:
    """Mark the methods as well, which the interpreter then calls as it calls the functions. Idempotent."""
    import triton.language as tl

    for _, method in inspect.getmembers(tl.tensor, inspect.isfunction):
        if not tl.core.is_builtin(method) and _OWN in inspect.signature(method).parameters:
            setattr(method, tl.core.TRITON_BUILTIN, True)
