"""Keeps 300 MiB more with every call."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        self.kept = [*getattr(self, "kept", []), b"x" * (300 << 20)]
        return a.tanh() * b
