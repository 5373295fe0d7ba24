"""A chain of matrix-vector products: what it takes is reading the weights, so that a call that finds them in the caches
is much faster than one that does not."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.randn(32, 192, 192) / 14)

    def forward(self, x):
        for weight in self.weights:
            x = torch.tanh(torch.mv(weight, x))
        return x


def get_inputs():
    return [torch.randn(192)]
