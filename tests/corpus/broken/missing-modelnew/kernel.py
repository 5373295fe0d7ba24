"""The class has another name than the contract looks for."""

from torch import nn


class FusedKernel(nn.Module):
    def forward(self, a, b):
        return a.tanh() * b
