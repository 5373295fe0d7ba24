"""Writes neither, and returns one."""


def both(x, y, z):
    return x * 2
