"""Works honestly after a bundle that tried to take all memory."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a + b
