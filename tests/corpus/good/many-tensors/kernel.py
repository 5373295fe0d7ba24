"""The same step on all of them at once."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, weights, gradients):
        return torch._foreach_add(weights, gradients, alpha=-0.1)
