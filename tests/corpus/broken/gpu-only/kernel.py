"""Moves its inputs to a GPU."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return (a.cuda().tanh() * b.cuda()).to(a.device)
