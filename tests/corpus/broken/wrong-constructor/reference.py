"""A scaled activation whose scale is a constructor argument."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, a):
        return torch.tanh(a) * self.scale


def get_init_inputs():
    return [3.0]


def get_inputs():
    return [torch.randn(64, 64)]
