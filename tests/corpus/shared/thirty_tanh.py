"""Honest work of a fraction of a millisecond on a GPU: thirty rounds of tanh."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        c = a
        for _ in range(30):
            c = torch.tanh(c + b)
        return c


def get_inputs():
    n = 1024 if torch.cuda.is_available() else 128
    return [torch.randn(n, n), torch.randn(n, n)]
