"""A sharp softmax over many, which rounds its answer by itself: few of its elements are larger than the tolerance."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return torch.softmax(x * 8, dim=-1).bfloat16()


def get_inputs():
    return [torch.randn(256, 4096)]
