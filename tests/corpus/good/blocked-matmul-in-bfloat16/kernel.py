"""Sums four blocks of the inner dimension in float32 and rounds once: other bits than the reference's."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        total = torch.zeros(a.shape[0], b.shape[1], device=a.device)
        for left, right in zip(a.float().chunk(4, dim=1), b.float().chunk(4, dim=0), strict=True):
            total.addmm_(left, right)
        return total.to(a.dtype)
