"""Python takes this file; Triton's compiler stops at line 15."""

import triton
import triton.language as tl


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    left = tl.load(x + at, mask=inside)
    right = tl.load(y + at, mask=inside)

    # Nothing of this name exists.
    total = left + undeclared_factor * right
    tl.store(out + at, total, mask=inside)
