"""Sorts, by comparisons and branches."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return torch.sort(x).values


def get_inputs():
    return [torch.randn(1500)]
