"""Times three equivalent ways in its first call and keeps the fastest, as autotuners do."""

import time

import torch
from torch import nn


def by_batch(a, b):
    return torch.bmm(a.unsqueeze(0), b.unsqueeze(0))[0]


def by_einsum(a, b):
    return torch.einsum("ik,kj->ij", a, b)


def took_s(way, a, b):
    start = time.perf_counter()
    for _ in range(3):
        way(a, b)
    if a.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.way = None

    def forward(self, a, b):
        if self.way is None:
            self.way = min((torch.mm, by_batch, by_einsum), key=lambda way: took_s(way, a, b))
        return self.way(a, b)
