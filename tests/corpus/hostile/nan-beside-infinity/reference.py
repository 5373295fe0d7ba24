"""Honest work: infinities in one half."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        return torch.cat([a, b * float("inf")])


def get_inputs():
    return [torch.randn(64, 64), torch.randn(64, 64)]
