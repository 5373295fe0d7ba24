"""Honest work on a table."""

import torch


def waves(x, noise, table):
    c = table / 65536 * x
    for _ in range(30):
        c = torch.sin(2 * c + table)
    return c
