"""Honest work on little data: 20 rounds of tanh."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        c = a
        for _ in range(20):
            c = torch.tanh(c + b)
        return c


def get_inputs():
    return [torch.randn(8, 8), torch.randn(8, 8)]
