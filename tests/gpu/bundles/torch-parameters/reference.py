"""A convolution, a batch norm in training and one in evaluation mode, a linear layer. The evaluation one has been
given statistics that are not its defaults."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, channels, features):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, kernel_size=3, padding=1)
        self.live = nn.BatchNorm2d(channels)
        self.settled = nn.BatchNorm2d(channels)
        nn.init.uniform_(self.settled.running_mean, -1, 1)
        nn.init.uniform_(self.settled.running_var, 0.5, 2)
        nn.init.uniform_(self.settled.weight, 0.5, 1.5)
        self.settled.eval()
        self.linear = nn.Linear(channels, features)

    def forward(self, x):
        y = self.conv(x)
        live, settled = self.live(y), self.settled(y)
        return live, settled, self.linear((live * settled).mean(dim=(2, 3)))


def get_init_inputs():
    return [8, 24]


def get_inputs():
    return [torch.randn(4, 3, 20, 17)]
