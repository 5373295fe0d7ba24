"""Rotary position embedding, halves rotated against each other."""

import torch


def rotate(x, cos, sin):
    wide = torch.float64 if x.dtype == torch.float64 else torch.float32
    a, b = x.to(wide).chunk(2, -1)
    c, s = cos[:, None, :], sin[:, None, :]
    return torch.cat([a * c - b * s, b * c + a * s], -1).to(x.dtype)
