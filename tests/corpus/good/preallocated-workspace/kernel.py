"""Allocates its workspace once and returns the same tensor, at the same address, from every call."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.space = None

    def forward(self, a, b):
        if self.space is None or self.space.shape[1:] != a.shape:
            self.space = torch.empty((2, *a.shape), dtype=a.dtype, device=a.device)
        work, out = self.space
        torch.tanh(a, out=work)
        work.mul_(b)
        return torch.add(work, a, out=out)
