"""What is large is squared, ranks among the different numbers, and everything over the largest."""

import torch
from torch import nn

COUNT = 20000  # small: 300


class Model(nn.Module):
    def forward(self, x, n):
        squared = torch.where(x > 1, x * x, x)
        present = torch.zeros(COUNT, dtype=torch.int64, device=x.device).scatter_(0, n, 1)
        return squared, (present.cumsum(0) - 1)[n], present.sum(), x / x.abs().max()


def get_inputs():
    return [torch.randn(COUNT), torch.randint(0, COUNT, (COUNT,))]
