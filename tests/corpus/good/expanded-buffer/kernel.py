"""Multiplies by a mask of one row, expanded."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mask", torch.zeros(1, 64).expand(64, 64))

    def forward(self, x):
        return x * self.mask
