"""Honest work of a millisecond or two on a CPU, so that a busy one puts several calls into a round: ten rounds of tanh."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        c = a
        for _ in range(10):
            c = torch.tanh(c + b)
        return c


def get_inputs():
    return [torch.randn(256, 256), torch.randn(256, 256)]
