"""Numbers up to infinity."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a):
        return torch.exp(a * 60)


def get_inputs():
    return [torch.randn(64, 64)]
