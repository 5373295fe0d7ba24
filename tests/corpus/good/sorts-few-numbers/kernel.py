"""The same sort, downwards, of the numbers below zero."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x):
        return -torch.sort(-x, descending=True).values
