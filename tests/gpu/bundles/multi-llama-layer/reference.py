"""One decoder layer: RMS norm, rotary grouped-query attention, RMS norm, a gated MLP."""

import torch
import torch.nn.functional as F


def rms_norm(x, weight, eps):
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * weight


def rotated(x):
    """Rotate pairs (i, i + half) of the last dimension by position / 10000^(i / half)."""
    length, half = x.shape[-2], x.shape[-1] // 2
    speed = 10000.0 ** (-torch.arange(half, device=x.device) / half)
    angle = torch.arange(length, device=x.device)[:, None] * speed
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * angle.cos() - second * angle.sin(), first * angle.sin() + second * angle.cos()], dim=-1)


def decoder_layer(hidden, attention_norm, wq, wk, wv, wo, mlp_norm, w_gate, w_up, w_down, heads, groups, eps):
    batch, length, width = hidden.shape
    x = rms_norm(hidden, attention_norm, eps)

    def split(weight, count):
        return F.linear(x, weight).view(batch, length, count, -1).transpose(1, 2)

    q, k, v = rotated(split(wq, heads)), rotated(split(wk, groups)), split(wv, groups)
    k, v = (item.repeat_interleave(heads // groups, dim=1) for item in (k, v))
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    future = torch.ones(length, length, dtype=torch.bool, device=hidden.device).triu(1)
    mixed = torch.softmax(scores.masked_fill(future, float("-inf")), dim=-1) @ v
    hidden = hidden + F.linear(mixed.transpose(1, 2).reshape(batch, length, width), wo)

    x = rms_norm(hidden, mlp_norm, eps)
    return hidden + F.linear(F.silu(F.linear(x, w_gate)) * F.linear(x, w_up), w_down)
