"""a rounded to bfloat16, times b as the sum of two bfloat16: two tensor-core products in place of an exact one."""

import triton
import triton.language as tl


@triton.jit
def product(a, b, c, M, N, K, BLOCK: tl.constexpr, DEPTH: tl.constexpr):
    rows = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    depth = tl.arange(0, DEPTH)
    total = tl.zeros((BLOCK, BLOCK), dtype=tl.float32)
    for k in range(0, K, DEPTH):
        left = tl.load(a + rows[:, None] * K + k + depth[None, :]).to(tl.bfloat16)
        right = tl.load(b + (k + depth[:, None]) * N + columns[None, :])
        high = right.to(tl.bfloat16)
        low = (right - high.to(tl.float32)).to(tl.bfloat16)
        total = tl.dot(left, high, total)
        total = tl.dot(left, low, total)
    tl.store(c + rows[:, None] * N + columns[None, :], total)
