"""The same state, written over in place."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = torch.randn(8, 64)
        self.i2h = nn.Linear(32 + 64, 64)
        self.h2o = nn.Linear(64, 16)

    def forward(self, x):
        weight = self.i2h.weight
        new = torch.addmm(self.i2h.bias, x, weight[:, :32].t()).addmm_(self.hidden, weight[:, 32:].t())
        torch.tanh(new, out=self.hidden)
        return self.h2o(self.hidden)
