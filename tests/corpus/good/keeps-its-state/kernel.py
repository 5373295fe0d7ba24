"""The same running mean, in place."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(64))

    def forward(self, x):
        return x - self.mean.lerp_(x.mean(0), 0.1)
