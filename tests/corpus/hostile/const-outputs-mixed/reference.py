"""Two outputs, each of which some trivial answer passes for, but not the same one: an input, and nearly zero."""
import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        tiny = torch.softmax((x @ x.t()).reshape(-1) / 256, dim=0)
        return x + tiny.mean(), tiny


def get_inputs():
    return [torch.rand(1024, 256)]
