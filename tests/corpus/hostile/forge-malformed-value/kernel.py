"""An honest addition beside that reference."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b, scale):
        return a + b
