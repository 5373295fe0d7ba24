"""A running sum along each row."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        return torch.cumsum(torch.tanh(a), dim=1) * b


def get_inputs():
    return [torch.randn(256, 256), torch.randn(256, 256)]
