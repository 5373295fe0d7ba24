"""Dropout of what is doubled where anything is large."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        if (x.abs() > 100).any():
            x = x * 2
        return torch.dropout(x, 0.5, True)


def get_inputs():
    return [torch.randn(4096)]
