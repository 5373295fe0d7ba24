"""Reads time.perf_counter around its work, keeps the fastest call and logs it when it improves."""

import logging
import time

import torch
from torch import nn

logging.basicConfig(level=logging.INFO, format="%(message)s")


class ModelNew(nn.Module):
    def __init__(self):
        super().__init__()
        self.fastest_s = float("inf")

    def forward(self, a, b):
        start = time.perf_counter()
        c = torch.tanh(a) * b
        took_s = time.perf_counter() - start
        if took_s < self.fastest_s / 2:
            self.fastest_s = took_s
            logging.info("a call took %.0f us", took_s * 1e6)
        return c
