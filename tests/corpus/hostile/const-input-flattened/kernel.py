"""Hands its input back, as one row."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x.flatten()
