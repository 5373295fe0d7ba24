"""Which numbers are positive, and how many in each row."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a):
        return a > 0.3


def get_inputs():
    n = 2048 if torch.cuda.is_available() else 128
    return [torch.randn(n, n)]
