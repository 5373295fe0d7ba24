"""Takes two constants out of the C library through ctypes, in every call."""

import ctypes
import ctypes.util

import torch
from torch import nn

libm = ctypes.CDLL(ctypes.util.find_library("m") or "libm.so.6")
for function in (libm.erf, libm.lgamma):
    function.restype = ctypes.c_double
    function.argtypes = [ctypes.c_double]


class ModelNew(nn.Module):
    def forward(self, a, b):
        return torch.add(a * libm.erf(0.5), b, alpha=libm.lgamma(3.5))
