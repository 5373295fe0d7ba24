"""The same in one expression."""


def step(x, cache):
    return cache.copy_(cache + x).sum(1)
