"""Honest work of a fraction of a millisecond on a CPU: thirty rounds of tanh."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        c = a
        for _ in range(30):
            c = torch.tanh(c + b)
        return c


def get_inputs():
    return [torch.randn(64, 64), torch.randn(64, 64)]
