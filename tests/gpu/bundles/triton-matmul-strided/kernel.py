"""A matrix product over arbitrary strides: b lies transposed in memory and is read through its strides alone."""

import triton
import triton.language as tl


@triton.jit
def product(
    a, b, c, M, N, K, a_row, a_col, b_row, b_col, c_row, c_col,
    TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr,
):
    rows = tl.program_id(0) * TILE_M + tl.arange(0, TILE_M)
    cols = tl.program_id(1) * TILE_N + tl.arange(0, TILE_N)
    inner = tl.arange(0, TILE_K)
    a_at = a + rows[:, None] * a_row + inner[None, :] * a_col
    b_at = b + inner[:, None] * b_row + cols[None, :] * b_col

    total = tl.zeros((TILE_M, TILE_N), dtype=tl.float32)
    for step in range(tl.cdiv(K, TILE_K)):
        left = K - step * TILE_K
        a_tile = tl.load(a_at, mask=(rows[:, None] < M) & (inner[None, :] < left), other=0.0)
        b_tile = tl.load(b_at, mask=(inner[:, None] < left) & (cols[None, :] < N), other=0.0)
        total = tl.dot(a_tile, b_tile, total)
        a_at += TILE_K * a_col
        b_at += TILE_K * b_row

    inside = (rows[:, None] < M) & (cols[None, :] < N)
    tl.store(c + rows[:, None] * c_row + cols[None, :] * c_col, total.to(tl.float16), mask=inside)
