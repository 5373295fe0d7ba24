"""Its constructor wants a power of two and gets none."""

from torch import nn


class ModelNew(nn.Module):
    def __init__(self, width=100):
        super().__init__()
        if width & (width - 1):
            raise ValueError(f"width {width} is no power of two")

    def forward(self, a, b):
        return a.tanh() * b
