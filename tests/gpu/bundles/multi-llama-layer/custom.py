"""The layer by three means: the norms in Triton, the gated SiLU in CUDA through CuPy, the attention in torch."""

import cupy
import numpy as np
import torch
import torch.nn.functional as F
import triton
import triton.language as tl

GATED_SILU = cupy.RawKernel(
    r"""
    extern "C" __global__ void gated_silu(const float* gate, const float* up, float* out, const int n)
    {
        const int at = blockIdx.x * blockDim.x + threadIdx.x;
        if (at < n)
            out[at] = gate[at] / (1.0f + expf(-gate[at])) * up[at];
    }
    """,
    "gated_silu",
)


@triton.jit
def rms_norm_rows(x, weight, out, width, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < width
    value = tl.load(x + row * width + at, mask=inside, other=0.0)
    scale = tl.rsqrt(tl.sum(value * value, axis=0) / width + eps)
    tl.store(out + row * width + at, value * scale * tl.load(weight + at, mask=inside), mask=inside)


def rms_norm(x, weight, eps):
    width = x.shape[-1]
    out = torch.empty_like(x)
    rms_norm_rows[(x.numel() // width,)](x, weight, out, width, eps, BLOCK=triton.next_power_of_2(width))
    return out


def gated_silu(gate, up):
    out = torch.empty_like(gate)
    count = gate.numel()
    pointers = tuple(np.int64(item.data_ptr()) for item in (gate, up, out))
    with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
        GATED_SILU(((count + 255) // 256,), (256,), (*pointers, np.int32(count)))
    return out


def rotated(x):
    half = x.shape[-1] // 2
    steps = torch.arange(half, device=x.device)
    angle = torch.outer(torch.arange(x.shape[-2], device=x.device), torch.pow(10000.0, -steps / half))
    turn = torch.polar(torch.ones_like(angle), angle)
    turned = torch.complex(x[..., :half].contiguous(), x[..., half:].contiguous()) * turn
    return torch.cat([turned.real, turned.imag], dim=-1)


def decoder_layer(hidden, attention_norm, wq, wk, wv, wo, mlp_norm, w_gate, w_up, w_down, heads, groups, eps):
    batch, length, width = hidden.shape
    x = rms_norm(hidden, attention_norm, eps)
    q = F.linear(x, wq).view(batch, length, heads, -1).transpose(1, 2)
    k = F.linear(x, wk).view(batch, length, groups, -1).transpose(1, 2)
    v = F.linear(x, wv).view(batch, length, groups, -1).transpose(1, 2)
    mixed = F.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True, enable_gqa=True)
    hidden = hidden + F.linear(mixed.transpose(1, 2).reshape(batch, length, width), wo)
    x = rms_norm(hidden, mlp_norm, eps)
    return hidden + F.linear(gated_silu(F.linear(x, w_gate), F.linear(x, w_up)), w_down)
