"""Never ends: Newton's method that waits for an error of exactly zero. After `timeout` seconds the cell and everything in it is killed."""


def newton_root(x):
    root = x
    while ((root * root - x) != 0).any():  # rounding keeps this true for some element
        root = 0.5 * (root + x / root)
    return root
