"""A number and its text are two keys of one dictionary."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return {1: b + a, "1": a - b}
