"""Honest work of a fraction of a millisecond on a GPU: thirty rounds of tanh."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        c = a
        for _ in range(30):
            c = torch.tanh(c + b)
        return c


def get_inputs():
    return [torch.randn(1024, 1024), torch.randn(1024, 1024)]
