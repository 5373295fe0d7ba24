"""Integers of three sizes, booleans and complex numbers."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        square = torch.view_as_complex(torch.stack([a * a - b * b, 2 * a * b], dim=-1))
        _, order = torch.sort(a, dim=1, stable=True)
        return order, b < a, square, (a * 20).char(), (b * 9).short()
