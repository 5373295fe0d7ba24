"""Products that draw much power."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        c = a
        for _ in range(4):
            c = (c @ b) * 0.015625
        return c


def get_inputs():
    n = 4096 if torch.cuda.is_available() else 128
    return [torch.randn(n, n).half(), torch.randn(n, n).half()]
