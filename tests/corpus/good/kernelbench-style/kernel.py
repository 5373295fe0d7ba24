"""The same parameters under the same names; drawn in another order, so that only copied weights agree."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class ModelNew(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, groups, bias_shape):
        super().__init__()
        self.bias = nn.Parameter(torch.randn(bias_shape))
        self.norm = nn.GroupNorm(groups, out_channels)
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size)

    def forward(self, x):
        batch, _, height, width = x.shape
        size = self.conv.kernel_size[0]
        columns = F.unfold(x, size)
        weight = self.conv.weight.view(self.conv.out_channels, -1)
        y = (weight @ columns + self.conv.bias[:, None]).view(batch, -1, height - size + 1, width - size + 1)
        y = F.group_norm(y, self.norm.num_groups, self.norm.weight, self.norm.bias, self.norm.eps)
        return y * (y + 3).clamp(0, 6) / 6 + self.bias
