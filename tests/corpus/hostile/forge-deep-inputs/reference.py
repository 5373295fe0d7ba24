"""Nests its inputs deeper than a cell may: its own takes them, that of the kernel it is compared with does not."""

import torch
from torch import nn

from daemon.executor.shared import protocol, tree

DEPTH = 19
tree._MAX_DEPTH = protocol._MAX_DEPTH = 1000


class Model(nn.Module):
    def forward(self, nested):
        for _ in range(DEPTH):
            nested = nested["k"]
        return nested + 1


def get_inputs():
    nested = torch.randn(64, 64)
    for _ in range(DEPTH):
        nested = {"k": nested}
    return nested
