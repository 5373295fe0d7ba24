import torch
import torch.nn.functional as F


def damped(x):
    return F.leaky_relu(x, 0.125) * torch.exp(-x * x) * 2
