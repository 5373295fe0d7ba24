"""A C++ extension compiled while this file is imported.

The type `torch_cuda` imports the file once in a build cell and keeps what was compiled; the cell that is judged finds everything
ready. This extension has C++ sources only, so it needs g++ but neither nvcc nor a GPU. With `cuda_sources` it would be a CUDA
extension; the contract would stay the same.
"""

from torch import nn
from torch.utils.cpp_extension import load_inline

SOURCE = r"""
#include <torch/extension.h>

torch::Tensor leaky_relu(torch::Tensor x, double slope) {
    TORCH_CHECK(x.is_contiguous() && x.scalar_type() == torch::kFloat, "x must be contiguous float32");
    auto y = torch::empty_like(x);
    const float* in = x.data_ptr<float>();
    float* out = y.data_ptr<float>();
    const float s = static_cast<float>(slope);
    for (int64_t i = 0, n = x.numel(); i < n; ++i) {
        out[i] = in[i] > 0.0f ? in[i] : in[i] * s;
    }
    return y;
}
"""

extension = load_inline(name="leaky_relu_cpp", cpp_sources=SOURCE, functions=["leaky_relu"], extra_cflags=["-O2"])


class ModelNew(nn.Module):
    def forward(self, x):
        return extension.leaky_relu(x, 0.01)
