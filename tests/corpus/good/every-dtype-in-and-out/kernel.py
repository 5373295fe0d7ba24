"""The same, by other operations."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, given):
        return {name: self.one(x) for name, x in given.items()}

    def one(self, x):
        if x.dtype.is_complex:
            return torch.complex(x.real * x.real - x.imag * x.imag, 2 * x.real * x.imag)
        if x.dtype.is_floating_point:
            return (x.double() / 2).to(x.dtype)
        if x.dtype is torch.bool:
            return x != x.roll(1)
        wide = x.long()
        return (wide + wide + 1).to(x.dtype)
