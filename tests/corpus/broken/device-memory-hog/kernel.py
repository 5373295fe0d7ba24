"""Keeps a gibibyte more of the GPU's memory with every round of a loop."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        kept = [torch.zeros(1 << 28, device=a.device) for _ in range(4096)]
        return a.tanh() * b + len(kept)
