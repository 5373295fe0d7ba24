"""Writes the infinities as constants instead of dividing by zero."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        above = torch.where(a > 0, float("inf"), float("nan"))
        return torch.where(b > 0, a.clamp_min(0), above) * torch.sign(a - b)
