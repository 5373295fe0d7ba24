"""Thirty small matrix products, launched by TorchScript: no Python between them, and nothing to fuse."""

import torch
from torch import Tensor, nn


@torch.jit.script
def work(a: Tensor, b: Tensor) -> Tensor:
    c = a
    for _ in range(30):
        c = torch.tanh(torch.mm(c, b))
    return c


class Model(nn.Module):
    def forward(self, a, b):
        return work(a, b)


def get_inputs():
    return [torch.randn(128, 128), torch.randn(128, 128) / 11.3]
