"""A complex product from four in bfloat16."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(256, 256, dtype=torch.complex64) / 16)

    def forward(self, x):
        a = x.bfloat16()
        b, c = self.weight.real.bfloat16(), self.weight.imag.bfloat16()
        return torch.complex((a @ b - a @ c).float(), (a @ b + a @ c).float())
