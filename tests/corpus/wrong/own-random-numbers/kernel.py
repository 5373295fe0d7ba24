"""Dropout with a generator of its own, which nobody seeds."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = None

    def forward(self, x):
        if self.generator is None:
            self.generator = torch.Generator(x.device)
        kept = torch.rand(x.shape, device=x.device, generator=self.generator) > 0.3
        return x.relu() * kept / 0.7
