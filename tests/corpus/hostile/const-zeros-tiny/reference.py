"""Honest work: a sum, scaled to a millionth."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        return (a + b) * 1e-6


def get_inputs():
    return [torch.randn(64, 64), torch.randn(64, 64)]
