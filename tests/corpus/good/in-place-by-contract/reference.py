"""One step of gradient descent with momentum."""


def step(weight, momentum, grad):
    moved = momentum * 0.9 + grad
    return weight - 0.1 * moved, moved
