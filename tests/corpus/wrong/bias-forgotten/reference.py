import torch
from torch import nn


class Model(nn.Module):
    def __init__(self, features, hidden):
        super().__init__()
        self.up = nn.Linear(features, hidden)
        self.down = nn.Linear(hidden, features, bias=False)

    def forward(self, x):
        return self.down(torch.relu(self.up(x)))


def get_init_inputs():
    return [96, 160]


def get_inputs():
    return [torch.randn(128, 96)]
