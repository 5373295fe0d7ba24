"""Reshapes to a size that does not fit."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a.tanh().reshape(63, 65) * b
