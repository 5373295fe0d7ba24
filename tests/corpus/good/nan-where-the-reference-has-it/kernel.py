"""Gives no number where the logarithm has none: half of the answer."""

import math

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.where(a >= 0, torch.log2(a.clamp_min(0)) * math.log(2), float("nan")) * b
