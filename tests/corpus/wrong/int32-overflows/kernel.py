"""Multiplies in 32 bits, where such products wrap around."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return (a * b).long().sum(dim=1)
