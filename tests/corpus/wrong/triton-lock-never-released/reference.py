"""The sum of each column, added to what is there; the lock is free afterwards."""

import torch


def total(x, sums, lock):
    return sums + x.sum(0), lock
