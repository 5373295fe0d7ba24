"""Honest work of some milliseconds on a CPU: thirty rounds of tanh."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        c = a
        for _ in range(30):
            c = torch.tanh(c + b)
        return c


def get_inputs():
    return [torch.randn(256, 256), torch.randn(256, 256)]
