"""Honest work: a softmax over many columns."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        return torch.softmax(0.1 * (a + b), dim=-1)


def get_inputs():
    return [torch.randn(4, 65536), torch.randn(4, 65536)]
