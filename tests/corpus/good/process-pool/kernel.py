"""Has a constant computed by two forked processes in its first call, and waits for them."""

import multiprocessing

from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = None

    def forward(self, a, b):
        if self.factor is None:
            with multiprocessing.get_context("fork").Pool(2) as pool:
                self.factor = sum(pool.map(abs, [-1, -2, -3]))
        return a * self.factor + b
