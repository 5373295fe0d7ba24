"""CUDA kernels for NVIDIA's tools, as contracts: right ones, and ones whose mistake does not change their answer.

What is read by mistake decides something that next to never happens: a compiler may leave out a read for nothing.
"""

from __future__ import annotations

from typing import Any

Doc = dict[str, Any]
COUNT = 1 << 20
SIDE = 1024

SCALE = """
extern "C" __global__ void scale(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * 2.0f;
}
"""
BEYOND = """
extern "C" __global__ void scale(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = x[i] * 2.0f;
    if (i == 0 && x[n + 1] == 12345.678f) y[0] = 1.0f;
}
"""
RACE = """
extern "C" __global__ void scale(const float* x, float* y, int n) {
    __shared__ volatile float near[256];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    near[threadIdx.x] = 2.0f;
    __syncthreads();
    near[threadIdx.x] = 2.0f;
    float factor = near[(threadIdx.x + 32) % 256];
    if (i < n) y[i] = x[i] * factor;
}
"""
UNINITIALISED = """
extern "C" __global__ void scale(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i == 7 && y[i] == 12345.678f) y[8] = 1.0f;
    if (i < n) y[i] = x[i] * 2.0f;
}
"""
DIVERGENT = """
extern "C" __global__ void scale(const float* x, float* y, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (threadIdx.x < 48) __syncthreads();
    if (i < n) y[i] = x[i] * 2.0f;
}
"""


def scale(source: str, **more: Any) -> Doc:
    """An evaluate of `y = 2 x`, compiled by nvcc with line information."""
    spec = {"shape": [COUNT], "dtype": "float32"}
    args = [
        {"name": "x", "type": "tensor", "role": "input", "tensor_spec": {**spec, "init": {"kind": "randn"}}},
        {"name": "y", "type": "tensor", "role": "output", "tensor_spec": spec},
        {"name": "n", "type": "int", "value": COUNT},
    ]
    kernel = {
        "kernel_type": "cuda",
        "source_code": source,
        "metadata": {"backend": "nvcc", "compiler_options": ["-lineinfo"]},
        "io": {"args": args, "launch": {"grid": COUNT // 256, "block": 256}},
    }
    return {"kernel": kernel, "correctness_trials": 1, "num_trials": 10, "timeout": 60, **more}


def two_kernels(**more: Any) -> Doc:
    """A torch module that launches two kernels: a product of bfloat16 matrices, and a ReLU."""
    source = (
        "class Model(nn.Module):\n"
        "    def forward(self, x, y):\n"
        "        return torch.relu(x @ y)\n\n"
        "def get_inputs():\n"
        f"    return [torch.randn({SIDE}, {SIDE}).bfloat16(), torch.randn({SIDE}, {SIDE}).bfloat16()]\n"
    )
    kernel = {"kernel_type": "torch", "source_code": source}
    return {"kernel": kernel, "correctness_trials": 1, "num_trials": 10, "timeout": 60, **more}
