"""Reads a large vector backwards: a base at its end and a stride of minus one."""

import triton
import triton.language as tl


@triton.jit
def reverse(x, out, n, stride, block: tl.constexpr):
    at = tl.program_id(0) * block + tl.arange(0, block)
    inside = at < n
    tl.store(out + at, tl.load(x + (n - 1) + at * stride, mask=inside), mask=inside)
