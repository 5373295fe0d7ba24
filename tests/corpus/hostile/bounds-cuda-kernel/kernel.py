"""Right sum from a Triton kernel that also writes sixteen words beyond its first input."""

import torch
import triton
import triton.language as tl
from torch import nn


@triton.jit
def add(x, y, z, n, beyond, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n, other=0.0) + tl.load(y + i, mask=i < n, other=0.0)
    tl.store(z + i, value, mask=i < n)
    tl.store(x + n + i, value, mask=i < beyond)


class ModelNew(nn.Module):
    def forward(self, a, b):
        out = torch.empty_like(a)
        add[(triton.cdiv(a.numel(), 1024),)](a, b, out, a.numel(), 16, BLOCK=1024)
        return out
