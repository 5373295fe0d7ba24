"""Two constants of the mathematical library."""

import math

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        return a * math.erf(0.5) + b * math.lgamma(3.5)


def get_inputs():
    return [torch.randn(256, 256), torch.randn(256, 256)]
