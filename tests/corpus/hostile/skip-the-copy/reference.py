"""As little work as there is on as much memory: copying the answer takes about as long."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a):
        return a + 1


def get_inputs():
    return [torch.rand(512, 512)]
