"""Moments by torch, everything after them in one Triton kernel."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def apply(x, mean, rstd, weight, bias, out, size, BLOCK: tl.constexpr):
    row = tl.program_id(1)
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    value = tl.load(x + row * size + at, mask=inside)
    value = (value - tl.load(mean + row)) * tl.load(rstd + row)
    value = value * tl.load(weight + at, mask=inside) + tl.load(bias + at, mask=inside)
    tl.store(out + row * size + at, value, mask=inside)


class ModelNew(nn.Module):
    def __init__(self, normalized_shape):
        super().__init__()
        self.ln = nn.LayerNorm(normalized_shape=normalized_shape)

    def forward(self, x):
        size = self.ln.weight.numel()
        variance, mean = torch.var_mean(x.view(-1, size), dim=1, correction=0)
        rstd = torch.rsqrt(variance + self.ln.eps)
        out = torch.empty_like(x)
        grid = (triton.cdiv(size, 4096), mean.numel())
        apply[grid](x, mean, rstd, self.ln.weight, self.ln.bias, out, size, BLOCK=4096)
        return out
