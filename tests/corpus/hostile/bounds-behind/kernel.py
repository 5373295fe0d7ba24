"""Writes four bytes behind its first input."""

import ctypes

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        ctypes.memset(a.data_ptr() + a.nbytes, 7, 4)
        return a + b
