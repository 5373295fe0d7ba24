"""Loses one update in every seventh call, as a race between two blocks would."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, values, index):
        self.calls += 1
        kept = values.shape[0] - (self.calls % 7 == 0)
        return torch.zeros(64, device=values.device).index_add_(0, index[:kept], values[:kept])
