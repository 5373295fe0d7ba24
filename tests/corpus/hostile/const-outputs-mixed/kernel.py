"""Returns its input for one output and zeros for the other."""
import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return x, x.new_zeros(x.shape[0] ** 2)
