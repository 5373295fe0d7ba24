"""Has the name of a module of the standard library."""


def scaled(x, factor):
    return x * factor
