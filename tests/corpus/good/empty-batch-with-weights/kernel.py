"""A batch of no rows, beside a matrix that has some."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, x, w):
        return torch.einsum("ik,kj->ij", x, w)
