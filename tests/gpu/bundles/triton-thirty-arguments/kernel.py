"""Thirty arguments, tensors, scalars and constexprs of every type in no order at all."""

import triton
import triton.language as tl


@triton.jit
def thirty(
    out, a, alpha, BLOCK: tl.constexpr, b, use_b, beta, n, c, USE_C: tl.constexpr, gamma, shift, d, use_d,
    POWER: tl.constexpr, delta, e, when_true, when_false, SIGN: tl.constexpr, f, gather, one, epsilon,
    SCALE: tl.constexpr, mean, big, MODE: tl.constexpr, negate, count,
):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    value = alpha * tl.load(a + at, mask=inside, other=0.0)
    if use_b:
        value += beta * tl.load(b + at, mask=inside, other=0.0)
    if USE_C:
        value += gamma * (tl.load(c + at, mask=inside, other=0) + shift)
    if use_d:
        value += delta * tl.load(d + at, mask=inside, other=0.0).to(tl.float32)
    chosen = tl.load(e + at, mask=inside, other=0) != 0
    value += tl.where(chosen, when_true, when_false).to(tl.float32)
    if gather:
        far = tl.load(f + at, mask=inside, other=0)
        value += tl.load(a + far, mask=inside, other=0.0) * one
    for _ in tl.static_range(POWER - 1):
        value *= SCALE
    if MODE == "wide":
        value += (big // 1000000000).to(tl.float32) + epsilon
    value += tl.load(mean) * tl.load(count).to(tl.float32) * epsilon
    if negate:
        value *= SIGN
    tl.store(out + at, value, mask=inside)
