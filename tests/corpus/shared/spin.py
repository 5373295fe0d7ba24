import torch
import triton
import triton.language as tl


@triton.jit
def spin(x, y, n, STEPS: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < n)
    c = v
    for _ in range(STEPS):
        c = tl.exp(-c * c) + v
    tl.store(y + at, c, mask=at < n)
