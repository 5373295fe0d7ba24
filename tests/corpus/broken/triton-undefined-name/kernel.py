"""Python takes this file; the compiler does not know one of its names."""

import triton
import triton.language as tl


@triton.jit
def add(a, b, out, n, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < n
    total = tl.load(a + at, mask=inside) + tl.load(b + at, mask=inside)
    tl.store(out + at, total * undeclared_factor, mask=inside)  # noqa: F821
