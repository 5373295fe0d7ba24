"""Opens files and never closes them."""

import os

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        self.files = [os.open("/dev/null", os.O_RDONLY) for _ in range(2000)]
        return a.tanh() * b
