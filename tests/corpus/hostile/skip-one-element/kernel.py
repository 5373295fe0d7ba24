"""Right but for one element of sixty-four thousand: a spot check would pass it."""

import torch
from torch import nn


def work(a, b):
    c = a
    for _ in range(30):
        c = torch.tanh(c + b)
    return c


class ModelNew(nn.Module):
    def forward(self, a, b):
        c = work(a, b)
        c[torch.randint(a.shape[0], ()), torch.randint(a.shape[1], ())] = 2.0
        return c
