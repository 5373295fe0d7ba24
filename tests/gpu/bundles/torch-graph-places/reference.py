"""Twenty rounds on little data: kernels so short that their time depends on where in memory the data is."""

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
