"""Rotates the halves of each head where they stand."""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["heads"], do_not_specialize_on_alignment=["cos"])
def rotate(x, cos, sin, heads, HALF: tl.constexpr):
    row = tl.program_id(0)
    token = row // heads
    at = tl.arange(0, HALF)
    first = x + row * 2 * HALF + at
    second = first + HALF
    a = tl.load(first).to(tl.float32)
    b = tl.load(second).to(tl.float32)
    c = tl.load(cos + token * HALF + at)
    s = tl.load(sin + token * HALF + at)
    tl.store(first, (a * c - b * s).to(x.dtype.element_ty))
    tl.store(second, (b * c + a * s).to(x.dtype.element_ty))
