"""The same."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return {"y": 2 * torch.tanh(x), "numbers": [x.shape[1], 0.1, True, 2j, torch.full((), 5, device="cpu")]}
