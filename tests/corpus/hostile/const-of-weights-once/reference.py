"""A table made of the weights, to which the input adds less than the tolerance: the answer is the same for all inputs."""

import torch
from torch import nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(256, 256))

    def forward(self, x):
        found = self.weight
        for _ in range(20):
            found = torch.tanh(found @ self.weight)
        return found + torch.softmax(x.reshape(-1), dim=0).reshape(256, 256)


def get_inputs():
    return [torch.rand(256, 256)]
