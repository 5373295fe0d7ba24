"""Adds with atomics, from the last value to the first: on a GPU the order, and so the rounding, is never the same."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, values, index):
        out = torch.zeros(64, device=values.device)
        return out.scatter_add_(0, index.flip(0), values.flip(0))
