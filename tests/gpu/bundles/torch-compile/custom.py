"""The product stays with the library, what follows is fused by torch.compile."""

import torch
from torch import nn


@torch.compile
def gated(x, gate):
    return x + x * torch.sigmoid(gate) * torch.sigmoid(x)


class ModelNew(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gate = nn.Linear(width, width)

    def forward(self, x):
        return gated(x, self.gate(x))
