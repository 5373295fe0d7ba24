"""Ends with the C library's abort, as a failed assertion in a C++ extension does."""

import os

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        os.abort()
