"""Asks for a workspace of four tebibytes."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        work = torch.empty(1 << 40, dtype=torch.float32, device=a.device)
        return a.tanh() * b + work[0] * 0
