"""Reads a file of its author's machine when it is imported."""

from pathlib import Path

from torch import nn

CONFIG = Path("/home/author/tuning/config.json").read_text()


class ModelNew(nn.Module):
    def forward(self, a, b):
        return a.tanh() * b
