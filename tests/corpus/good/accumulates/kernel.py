"""Adds to what is there, in place."""


def add_to(x, total):
    total.add_(x)
