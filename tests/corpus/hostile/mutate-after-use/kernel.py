"""The right sum, computed in place in the first input."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a.add_(b)
