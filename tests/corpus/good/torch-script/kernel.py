"""A function compiled by torch.jit.script."""

import torch
from torch import nn


@torch.jit.script
def chosen(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.where(a > 0, a * b, a.exp())


class ModelNew(nn.Module):
    def forward(self, a, b):
        return chosen(a, b)
