"""One product of the weights with all patches."""

import torch.nn as nn
import torch.nn.functional as F


class ModelNew(nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0):
        super().__init__()
        self.size, self.stride, self.padding = kernel_size, stride, padding
        self.conv2d = nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=False)

    def forward(self, x):
        height, width = ((side + 2 * self.padding - self.size) // self.stride + 1 for side in x.shape[2:])
        patches = F.unfold(x, self.size, padding=self.padding, stride=self.stride)
        return (self.conv2d.weight.flatten(1) @ patches).view(x.shape[0], -1, height, width)
