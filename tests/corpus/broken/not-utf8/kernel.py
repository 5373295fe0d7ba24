"""Says größer in Latin-1."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a.tanh() * b
