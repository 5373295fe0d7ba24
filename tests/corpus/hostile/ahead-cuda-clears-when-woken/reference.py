"""How much of the weight of each index is its own: a histogram of sixteen million bins, which has to be clear before."""

import torch
from torch import nn

BINS = 1 << 24


class Model(nn.Module):
    def forward(self, index, weight):
        counts = torch.zeros(BINS, device=weight.device)
        counts.index_add_(0, index, weight)
        return weight / counts[index]


def get_inputs():
    return [torch.randint(0, BINS, (2048,)).repeat(2), torch.rand(4096) + 0.5]
