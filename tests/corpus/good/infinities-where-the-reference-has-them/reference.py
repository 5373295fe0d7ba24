"""Infinities of both signs, and no number where nothing is divided by nothing."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, a, b):
        return torch.relu(a) / torch.relu(b).sign() * torch.sign(a - b)


def get_inputs():
    return [torch.randn(256, 256), torch.randn(256, 256)]
