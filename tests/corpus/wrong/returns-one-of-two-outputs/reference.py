"""Writes both."""


def both(x, y, z):
    y.copy_(x + 1)
    z.copy_(x * 2)
