"""Rows in descending order, and the largest eight of each."""

import torch


def ordered(x):
    return torch.sort(x, dim=1, descending=True).values, torch.topk(x, 8, dim=1).values
