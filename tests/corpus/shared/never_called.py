"""Never called."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a.tanh() * b
