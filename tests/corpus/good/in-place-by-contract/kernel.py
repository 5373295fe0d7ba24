"""Updates two of its arguments in place and returns nothing."""


def step(weight, momentum, grad):
    momentum.mul_(0.9).add_(grad)
    weight.sub_(momentum, alpha=0.1)
