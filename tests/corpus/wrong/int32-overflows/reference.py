"""A dot product of integers, in 64 bits."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        return (a.long() * b.long()).sum(dim=1)


def get_inputs():
    return [torch.randint(0, 1 << 20, (32, 256), dtype=torch.int32) for _ in range(2)]
