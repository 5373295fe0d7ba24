"""The same by an index."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x, how):
        backwards = torch.arange(x.shape[how] - 1, -1, -1, device=x.device)
        return x.index_select(how, backwards)
