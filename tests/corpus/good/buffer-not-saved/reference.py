"""Shifts by a random buffer that is not saved."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.randn(64), persistent=False)

    def forward(self, x):
        return x + self.shift


def get_inputs():
    return [torch.randn(32, 64)]
