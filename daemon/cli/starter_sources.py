"""The source files of the bundles that `evald new` writes."""

from __future__ import annotations

README = """# {name}

{summary}. Written by `evald new {kind}`.

    evald validate {name}    what is wrong with the contract, without running anything
    evald eval {name}        judge it here and now
    evald submit {name}      put a copy into the inbox of a running evald

`contract.json` says what is judged; `evald schema` prints its JSON Schema for your editor. evald does not read this.
"""

TORCH = '''"""The kernel: evald builds Model(*get_init_inputs()) once and times Model.forward(*get_inputs())."""

import torch
import torch.nn as nn


class Model(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.linear = nn.Linear(features, features)

    def forward(self, x):
        return torch.relu(self.linear(x))


def get_init_inputs():
    """Arguments of the constructor."""
    return [256]


def get_inputs():
    """Arguments of one call. evald calls this with a fresh secret seed each time."""
    return [torch.randn(64, 256)]
'''

SOFTMAX_REFERENCE = '''"""The reference: what is right. Both sides get the inputs made here."""

import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, x):
        return torch.softmax(x, dim=-1)


def get_inputs():
    return [torch.randn(128, 1024)]
'''

SOFTMAX_CUSTOM = '''"""The kernel that is judged. Replace the body of forward."""

import torch
import torch.nn as nn


class ModelNew(nn.Module):
    def forward(self, x):
        shifted = x - x.max(dim=-1, keepdim=True).values
        powers = shifted.exp()
        return powers / powers.sum(dim=-1, keepdim=True)
'''

RELU_REFERENCE = '''"""The reference: what is right."""

import torch
import torch.nn as nn


class Model(nn.Module):
    def forward(self, x):
        return torch.relu(x)


def get_inputs():
    return [torch.randn(256, 256)]
'''

RELU_EXTENSION = '''"""The kernel that is judged: a C++ extension. It is compiled once, before anything is timed.

For a GPU, put the kernel into cuda_sources and its launch into cpp_sources.
"""

import torch
import torch.nn as nn
from torch.utils.cpp_extension import load_inline

CPP = """
#include <torch/extension.h>

torch::Tensor relu(torch::Tensor x) {
    auto y = torch::empty_like(x);
    const float* in = x.data_ptr<float>();
    float* out = y.data_ptr<float>();
    for (int64_t i = 0; i < x.numel(); i++) out[i] = in[i] > 0 ? in[i] : 0;
    return y;
}
"""

extension = load_inline(name="relu_extension", cpp_sources=CPP, functions=["relu"])


class ModelNew(nn.Module):
    def forward(self, x):
        return extension.relu(x.contiguous())
'''

ADD_REFERENCE = '''"""The reference: what is right. It gets the inputs of the kernel's contract (x and y)."""


def add(x, y):
    return x + y
'''

ADD_TRITON = '''"""The kernel that is judged. Arguments come in the order of io.args; the grid is io.launch.grid."""

import triton
import triton.language as tl


@triton.jit
def add_kernel(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n  # the last block reaches past the end
    tl.store(out + at, tl.load(x + at, mask=inside) + tl.load(y + at, mask=inside), mask=inside)
'''

SCALE_CUDA = """// The kernel that is judged. Arguments come in the order of io.args, scalars as the C types here.

extern "C" __global__ void scale(const float* x, float* y, float factor, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = factor * x[i];  // the last block reaches past the end
}
"""

NORMALISE_REFERENCE = '''"""The reference: what is right."""

import torch


def normalise(x):
    return torch.nn.functional.layer_norm(x, x.shape[-1:])
'''

NORMALISE_STEPS = '''"""The kernel that is judged: `run` is the entry point. What it returns is the answer."""

import torch


def run(x):
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(dim=-1, keepdim=True) + 1e-5)
'''

MATMUL_REFERENCE = '''"""The reference: what is right. Its io says which tensors both sides get."""

import torch


def matmul(a, b):
    return torch.matmul(a, b)
'''

MATMUL_CUSTOM = '''"""The kernel that is judged. It must work at every size that contract.json lists under cases."""

import torch


def matmul(a, b):
    return torch.einsum("mk,kn->mn", a, b)
'''

LOOKUP_REFERENCE = '''"""The reference: what is right."""


def lookup(table, index):
    return table[index.long()]
'''

LOOKUP_CUSTOM = '''"""The kernel that is judged. `index` holds 0, 5, 10 and 15: their bytes stand in contract.json.

Make such bytes with: base64.b64encode(array.tobytes())
"""


def lookup(table, index):
    return table.index_select(0, index)
'''
