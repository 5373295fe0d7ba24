"""Collects garbage, walks the collector's objects and keeps weak references to its inputs; none of it matters."""

import gc
import weakref

import torch
from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen = []
        self.modules_alive = 0

    def forward(self, a, b):
        if not self.modules_alive:
            gc.collect()
            self.modules_alive = sum(isinstance(item, nn.Module) for item in gc.get_objects())
        self.seen = [seen for seen in self.seen if seen() is not None] + [weakref.ref(a)]
        return torch.mul(a.tanh(), b)
