"""A step of an optimizer over many small tensors."""

import torch
from torch import nn


class Model(nn.Module):
    def forward(self, weights, gradients):
        return [weight - 0.1 * gradient for weight, gradient in zip(weights, gradients)]


def get_inputs():
    return [[torch.randn(16) for _ in range(200)], [torch.randn(16) for _ in range(200)]]
