"""Both answers, without their names."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return b + a, a.tanh()
