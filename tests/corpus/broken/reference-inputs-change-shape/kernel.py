"""Right at every size."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a):
        return a.tanh()
