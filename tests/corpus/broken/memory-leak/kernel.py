"""Keeps 1 GiB more with every call."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        self.kept = [*getattr(self, "kept", []), b"x" * (1 << 30)]
        return a.tanh() * b
