"""Works honestly after a bundle that took all device memory."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a + b
