"""Takes a lock twice."""

import threading

from torch import nn


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, a, b):
        with self.lock, self.lock:
            return a.tanh() * b
