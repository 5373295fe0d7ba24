"""Batch normalisation by hand, which keeps its running statistics up to date besides."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(48)

    def forward(self, x):
        variance, mean = torch.var_mean(x, dim=0, correction=0)
        self.norm.running_mean.lerp_(mean, 0.1)
        self.norm.running_var.lerp_(variance * x.shape[0] / (x.shape[0] - 1), 0.1)
        return (x - mean) * torch.rsqrt(variance + self.norm.eps) * self.norm.weight + self.norm.bias
