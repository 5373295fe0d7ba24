"""Drops at random, and looks at the host, so that no graph can be made of it."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        scale = 2.0 if x.abs().max().item() > 100 else 1.0
        return torch.dropout(x * scale, 0.5, True)
