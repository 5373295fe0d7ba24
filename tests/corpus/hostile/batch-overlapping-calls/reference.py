"""A chain of sixty small kernels, each of which leaves most of a GPU idle."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        c = a
        for _ in range(30):
            c = torch.tanh(c + b)
        return c


def get_inputs():
    return [torch.randn(128, 128), torch.randn(128, 128)]
