"""An extension compiled while this file is imported: C++ for tensors on a CPU, CUDA for tensors on a GPU.

The type `torch_cuda` imports the file once in a build cell and keeps what was compiled; the cell that is judged finds everything
ready. Where there is no GPU there is no CUDA half: g++ alone compiles it, and no nvcc is needed, whichever build of torch it is.
"""

import torch
from torch import nn
from torch.utils.cpp_extension import load_inline

ON_GPU = torch.cuda.is_available()  # while it is compiled for a GPU, evald lets this be true

CUDA = r"""
#include <ATen/cuda/CUDAContext.h>
#include <c10/cuda/CUDAException.h>

__global__ void leaky_relu_kernel(const float* in, float* out, float slope, int64_t count) {
    const int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
    if (i < count) out[i] = in[i] > 0.0f ? in[i] : in[i] * slope;
}

void leaky_relu_cuda(const float* in, float* out, float slope, int64_t count) {
    const int threads = 256;
    const int64_t blocks = (count + threads - 1) / threads;
    leaky_relu_kernel<<<blocks, threads, 0, at::cuda::getCurrentCUDAStream()>>>(in, out, slope, count);
    C10_CUDA_KERNEL_LAUNCH_CHECK();
}
"""

SOURCE = r"""
#include <torch/extension.h>

#ifdef WITH_GPU
void leaky_relu_cuda(const float* in, float* out, float slope, int64_t count);
#endif

torch::Tensor leaky_relu(torch::Tensor x, double slope) {
    TORCH_CHECK(x.is_contiguous() && x.scalar_type() == torch::kFloat, "x must be contiguous float32");
    auto y = torch::empty_like(x);
    const float* in = x.data_ptr<float>();
    float* out = y.data_ptr<float>();
    const float s = static_cast<float>(slope);
#ifdef WITH_GPU
    if (x.is_cuda()) {
        leaky_relu_cuda(in, out, s, x.numel());
        return y;
    }
#endif
    for (int64_t i = 0, n = x.numel(); i < n; ++i) {
        out[i] = in[i] > 0.0f ? in[i] : in[i] * s;
    }
    return y;
}
"""

extension = load_inline(
    name="leaky_relu",
    cpp_sources=SOURCE,
    cuda_sources=CUDA if ON_GPU else None,
    functions=["leaky_relu"],
    extra_cflags=["-O2", *(["-DWITH_GPU"] if ON_GPU else [])],
)


class ModelNew(nn.Module):
    def forward(self, x):
        return extension.leaky_relu(x, 0.01)
