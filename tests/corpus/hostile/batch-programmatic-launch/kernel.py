"""The honest kernel, launched so that the next one may begin before it has ended (programmatic dependent launch)."""

import torch
import triton
import triton.language as tl
from triton.language.extra.cuda import gdc_launch_dependents


@triton.jit
def spin_at_once(x, y, n, STEPS: tl.constexpr, BLOCK: tl.constexpr):
    gdc_launch_dependents()
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < n)
    c = v
    for _ in range(STEPS):
        c = tl.exp(-c * c) + v
    tl.store(y + at, c, mask=at < n)


def run(x, y, n, STEPS, BLOCK):
    spin_at_once[(triton.cdiv(n, BLOCK),)](x, y, n, STEPS=STEPS, BLOCK=BLOCK, num_warps=4, launch_pdl=True)
