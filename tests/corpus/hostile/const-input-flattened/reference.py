"""Much work whose result hardly shows beside the input, as one row."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        found = x
        for _ in range(20):
            found = torch.tanh(found @ found.T / 16)
        return (x + 1e-6 * found).flatten()


def get_inputs():
    return [torch.randn(256, 256)]
