"""A C++ extension that uses a name which nobody declared. It includes nothing, so the compiler says so soon."""

from torch import nn
from torch.utils.cpp_extension import load_inline

SOURCE = """
float tanh_mul(float a, float b) {
    return a * undeclared_factor * b;
}
"""
extension = load_inline("tanh_mul_extension", cpp_sources=SOURCE, no_implicit_headers=True)


class ModelNew(nn.Module):
    def forward(self, a, b):
        return extension.tanh_mul(a, b)
