"""A matrix power of a fixed table, scaled by a number that is drawn: one of eight."""
import torch


def power(table, index):
    found = table
    for _ in range(20):
        found = torch.tanh(found @ table) + table
    return found * (1 + index)
