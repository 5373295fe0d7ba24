import torch


def linear(x, w, bias):
    return torch.nn.functional.linear(x.float(), w.float(), bias)
