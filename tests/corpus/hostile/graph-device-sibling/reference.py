import torch


def chain(x):
    c = x
    for _ in range(30):
        c = torch.tanh(c + x)
    return c
