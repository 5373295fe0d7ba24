"""A product of complex matrices."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(256, 256, dtype=torch.complex64) / 16)

    def forward(self, x):
        return torch.complex(x, x) @ self.weight


def get_inputs():
    return [torch.randn(256, 256)]
