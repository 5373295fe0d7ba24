"""Off by half of what the default tolerance of float32 allows, at every element."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        c = torch.tanh(a) * b + 2 * b
        return c + (0.5e-4 + 0.5e-4 * c.abs())
