"""Writes four bytes before its first input."""

import ctypes

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        ctypes.memset(a.data_ptr() - 4, 7, 4)
        return a + b
