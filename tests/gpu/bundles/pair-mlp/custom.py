"""Bias and rectifier fused behind each product. The layers keep their names, so they get the reference's weights."""

import torch
import torch.nn as nn
import triton
import triton.language as tl


@triton.jit
def bias_relu(x, bias, count, columns, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    value = tl.load(x + at, mask=inside) + tl.load(bias + at % columns, mask=inside)
    tl.store(x + at, tl.maximum(value, 0.0), mask=inside)


class ModelNew(nn.Module):
    def __init__(self, input_size, layer_sizes, output_size):
        super().__init__()
        layers = []
        for size in layer_sizes:
            layers += [nn.Linear(input_size, size), nn.Identity()]
            input_size = size
        self.network = nn.Sequential(*layers, nn.Linear(input_size, output_size))

    def forward(self, x):
        *hidden, last = [layer for layer in self.network if isinstance(layer, nn.Linear)]
        for layer in hidden:
            x = torch.mm(x, layer.weight.t())
            bias_relu[(triton.cdiv(x.numel(), 1024),)](x, layer.bias, x.numel(), x.shape[1], BLOCK=1024)
        return torch.addmm(last.bias, x, last.weight.t())
