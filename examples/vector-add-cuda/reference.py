"""What is right."""


def add(x, y):
    return x + y
