"""Softmax over rows wider than a tile, in two passes; how wide a tile is, and for how many warps, is tuned."""

import triton
import triton.language as tl


@triton.autotune(
    configs=[
        triton.Config({"WIDTH": 256}, num_warps=2),
        triton.Config({"WIDTH": 512}, num_warps=4),
        triton.Config({"WIDTH": 1024}, num_warps=8, num_stages=2),
    ],
    key=["columns"],
)
@triton.jit
def softmax(x, out, columns, temperature, WIDTH: tl.constexpr):
    x += tl.program_id(0) * columns
    out += tl.program_id(0) * columns

    largest = tl.full((WIDTH,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((WIDTH,), dtype=tl.float32)
    for start in range(0, columns, WIDTH):
        at = start + tl.arange(0, WIDTH)
        value = tl.load(x + at, mask=at < columns, other=float("-inf")) / temperature
        higher = tl.maximum(largest, value)
        # Lanes that have seen nothing yet hold minus infinity twice: their difference is no number.
        seen = higher > float("-inf")
        total = tl.where(seen, total * tl.exp(largest - higher) + tl.exp(value - higher), 0.0)
        largest = higher
    top = tl.max(largest, axis=0)
    whole = tl.sum(total * tl.exp(largest - top), axis=0)

    for start in range(0, columns, WIDTH):
        at = start + tl.arange(0, WIDTH)
        value = tl.load(x + at, mask=at < columns, other=0.0) / temperature
        tl.store(out + at, tl.exp(value - top) / whole, mask=at < columns)
