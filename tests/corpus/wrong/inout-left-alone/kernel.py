"""Adds to a copy of the accumulator."""


def accumulate(total, x):
    total = total + x
