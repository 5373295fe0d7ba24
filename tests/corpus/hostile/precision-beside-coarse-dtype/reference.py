"""A product, and one number in bfloat16."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(256, 256) / 16)

    def forward(self, x):
        return x @ self.weight, x.sum().bfloat16()[None]


def get_inputs():
    return [torch.randn(256, 256)]
