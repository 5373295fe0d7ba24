"""Computes in half precision and returns what came out."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a.half().tanh() * b.half()
