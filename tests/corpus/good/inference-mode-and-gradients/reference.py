"""A linear layer, and the gradient of its squared length with respect to the input."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(48, 24)

    def forward(self, x):
        y = self.layer(x)
        return y, 2 * y @ self.layer.weight


def get_inputs():
    return [torch.randn(40, 48)]
