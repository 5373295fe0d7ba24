"""Uses fmax, which prefers a number to NaN."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.fmax(a.sqrt(), b)
