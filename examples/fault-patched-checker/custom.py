"""A cheat: replace the functions a checker would call, the clock, too, and return nothing but zeros.

It works on evaluators that import a kernel into the process that judges it. Here the comparison and the clock are in another
process, which runs no bundle code; this only changes the cell's own copy of torch.
"""

import time

import torch
from torch import nn

torch.allclose = lambda *args, **kwargs: True
torch.equal = lambda *args, **kwargs: True
torch.testing.assert_close = lambda *args, **kwargs: None
time.perf_counter = lambda: 0.0


class ModelNew(nn.Module):
    def forward(self, x):
        return torch.zeros(x.shape[0], x.shape[0])
