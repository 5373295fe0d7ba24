"""Twice the input."""


def double(a):
    return a * 2
