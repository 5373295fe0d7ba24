"""Softmax over the last dimension. Has no get_inputs(): it is called with the input tensors of the custom kernel's contract."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return torch.softmax(x, dim=-1)
