"""Reads the address zero."""

import ctypes

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        ctypes.string_at(0)
        return a.tanh() * b
