"""Adds to an accumulator."""


def accumulate(total, x):
    return total + x
