"""The same, the other way round."""


def both(rows, x):
    return rows + rows, 1 + x
