"""Column sums, and inputs scaled by an exponential average of them in place."""

import torch
from torch import nn

ROWS, COLUMNS = 4000, 256  # small: 40, 64


class Model(nn.Module):
    def forward(self, x, average):
        sums = x.sum(0)
        return sums, 0.9 * average + 0.1 * sums


def get_inputs():
    return [torch.randn(ROWS, COLUMNS), torch.randn(COLUMNS)]
