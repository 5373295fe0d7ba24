"""Reverses a vector."""

import torch


def reverse(x):
    return torch.flip(x, [0])
