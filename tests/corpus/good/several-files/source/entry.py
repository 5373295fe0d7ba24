"""Imports a package of the bundle, one module of which has the name of a library's."""

from layers.activations import gated
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        return gated(a, b)
