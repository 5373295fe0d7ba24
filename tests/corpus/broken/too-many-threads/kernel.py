"""Starts threads and never joins them."""

import threading

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        for _ in range(2000):
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        return a.tanh() * b
