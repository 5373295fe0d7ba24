"""Returns the transposed product: the shape gives nothing away."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return (a @ b).mT
