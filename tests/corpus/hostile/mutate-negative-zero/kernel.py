"""Right; but turns one zero of the second input into a negative zero, which compares equal."""

from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, a, b):
        self.calls += 1
        b[0, 0] = -0.0
        return a + b
