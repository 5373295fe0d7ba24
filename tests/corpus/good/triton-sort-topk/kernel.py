"""Bitonic sorting and top-k within a row."""

import triton
import triton.language as tl


@triton.jit
def ordered(x, everything, largest, LENGTH: tl.constexpr, K: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, LENGTH)
    value = tl.load(x + row * LENGTH + at)
    tl.store(everything + row * LENGTH + at, tl.sort(value, descending=True))
    tl.store(largest + row * K + tl.arange(0, K), tl.topk(value, K))
