"""Keeps 16 MiB more of the host's memory with every round of a loop."""

from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        kept = [bytearray(b"x" * (1 << 24)) for _ in range(4096)]
        return a.tanh() * b + len(kept)
