"""Honest work of a fraction of a millisecond on a GPU: thirty rounds of tanh."""

import torch


def chain(a, b):
    c = a
    for _ in range(30):
        c = torch.tanh(c + b)
    return c
