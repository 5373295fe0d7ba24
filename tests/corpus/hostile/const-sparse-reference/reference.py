"""Honest work: a sum where it is rare, zero elsewhere."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        return torch.where(a > 4.0, a + b, 0.0)


def get_inputs():
    return [torch.randn(256, 256), torch.randn(256, 256)]
