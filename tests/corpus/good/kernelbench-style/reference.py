"""A convolution, a norm and an activation, as KernelBench writes its problems."""

import torch
from torch import nn


class Model(nn.Module):
    """Performs a convolution, applies group normalisation and hardswish."""

    def __init__(self, in_channels, out_channels, kernel_size, groups, bias_shape):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size)
        self.norm = nn.GroupNorm(groups, out_channels)
        self.bias = nn.Parameter(torch.randn(bias_shape))

    def forward(self, x):
        return torch.nn.functional.hardswish(self.norm(self.conv(x))) + self.bias


batch_size = 4
in_channels = 3
out_channels = 16
height, width = 20, 20


def get_inputs():
    return [torch.rand(batch_size, in_channels, height, width)]


def get_init_inputs():
    return [in_channels, out_channels, 3, 4, (out_channels, 1, 1)]
