"""The logarithm of what is negative half of the time."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        return torch.log(a) * b


def get_inputs():
    return [torch.randn(256, 256), torch.randn(256, 256)]
