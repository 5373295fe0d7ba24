"""The reference of a compare: what is right. It also brings the inputs, for both sides."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.activation = nn.GELU()

    def forward(self, x):
        return self.activation(x)


def get_inputs():
    return [torch.randn(128, 512)]
