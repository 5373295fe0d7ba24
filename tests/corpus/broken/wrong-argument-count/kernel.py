"""Wants three arguments where the reference's inputs are two."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b, scale):
        return a.tanh() * b * scale
