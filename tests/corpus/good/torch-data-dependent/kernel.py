"""By nonzero, masked_select, unique and item: sizes that only the host is told, and so no graph."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x, n):
        at = torch.nonzero(x > 1)[:, 0]
        squared = x.clone()
        if at.numel():
            squared[at] = torch.masked_select(x, x > 1).square()
        values, ranks = torch.unique(n, return_inverse=True)
        largest = x.abs().max().item()
        return squared, ranks, torch.tensor(values.numel(), device=x.device), x / largest
