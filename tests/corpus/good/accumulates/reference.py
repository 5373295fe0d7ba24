"""A sum that goes on: the output has a content of its own."""


def add_to(x, total):
    total.copy_(total + x)
