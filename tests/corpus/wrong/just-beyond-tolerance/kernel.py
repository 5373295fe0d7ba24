"""Off by one and a half times what the default tolerance of float32 allows, at one element."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        c = torch.tanh(a) * b + 2 * b
        c[17, 4] += 1.5e-4 + 1.5e-4 * c[17, 4].abs()
        return c
