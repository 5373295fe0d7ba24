"""Returns a transposed view of every second column of a wider tensor, offset by one."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        wide = a.new_zeros(a.shape[0], 2 * a.shape[1] + 1)
        seen = wide[:, 1::2]
        torch.mul(a.tanh(), b, out=seen)
        return seen.mT
