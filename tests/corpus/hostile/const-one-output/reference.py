"""Two outputs: a cheap one, and a softmax over so many elements that each lies below the tolerance."""
import torch
from torch import nn


class Model(nn.Module):
    def forward(self, x):
        return 2 * x[0], torch.softmax((x @ x.t()).reshape(-1) / 256, dim=0)


def get_inputs():
    return [torch.rand(1024, 256)]
