"""Makes its empty answers by other ways than the reference."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a):
        nothing = torch.empty((3, 0, 5), dtype=torch.int64, device=a.device)
        return torch.empty((0, a.shape[1]), device=a.device), torch.tanh(a), nothing
