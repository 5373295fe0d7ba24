"""A scaled copy."""


def scale(x):
    return x * 2
