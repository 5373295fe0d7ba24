"""The right numbers as a Python list."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a):
        return a.sum(dim=1).tolist()
