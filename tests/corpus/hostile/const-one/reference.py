"""Honest work: a number close to one everywhere."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        return 1.0 + torch.sigmoid(a + b) * 1e-5


def get_inputs():
    return [torch.randn(64, 64), torch.randn(64, 64)]
