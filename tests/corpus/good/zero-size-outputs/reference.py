"""Two answers without any element beside one that has some."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a):
        return a[:0], a.tanh(), torch.zeros(3, 0, 5, dtype=torch.int64, device=a.device)


def get_inputs():
    return [torch.randn(40, 24)]
