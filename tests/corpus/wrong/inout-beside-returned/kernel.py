"""Returns the right sum, and leaves the cache alone."""


def step(x, cache):
    return (cache + x).sum(1)
