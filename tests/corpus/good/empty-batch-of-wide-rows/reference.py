"""Rows that are longer than any memory, none of them there."""


def both(rows, x):
    return rows * 2, x + 1
