"""Reverses with NumPy's negative strides on a CPU and with an index on a GPU."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        if not x.is_cuda:
            return torch.from_numpy(x.numpy()[::-1, ::-1].copy())
        rows, columns = (torch.arange(size - 1, -1, -1, device=x.device) for size in x.shape)
        return x[rows[:, None], columns]
