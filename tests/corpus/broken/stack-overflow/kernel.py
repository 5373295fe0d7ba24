"""Recurses through C, with Python's limit lifted, until the stack of the process is used up."""

import ctypes
import sys

from torch import nn

sys.setrecursionlimit(1 << 30)
CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)


@CALLBACK
def deeper(level):
    return deeper(level + 1)


class ModelNew(nn.Module):
    def forward(self, a, b):
        deeper(0)
        return a.tanh() * b
