"""Waits for something that never comes when it is imported."""

import threading

from torch import nn

threading.Event().wait()


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a.tanh() * b
