"""A product, and an output that is a million times as large."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(256, 256) / 16)

    def forward(self, x):
        return x @ self.weight, torch.exp(x) * 1e6


def get_inputs():
    return [torch.randn(256, 256)]
