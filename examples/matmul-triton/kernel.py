"""A tiled matrix product: a two-dimensional grid, three constexpr tile sizes, a helper kernel in front of the entry.

`load_tile` is called by `matmul_tiles`, so evald would find the entry by itself; `metadata.kernel_name` says it aloud.
"""

import triton
import triton.language as tl


@triton.jit
def load_tile(base, rows, cols, height, width):
    """The tile at rows x cols of a row-major matrix, zeros outside of it."""
    inside = (rows[:, None] < height) & (cols[None, :] < width)
    return tl.load(base + rows[:, None] * width + cols[None, :], mask=inside, other=0.0)


@triton.jit
def matmul_tiles(a, b, c, M, N, K, TILE_M: tl.constexpr, TILE_N: tl.constexpr, TILE_K: tl.constexpr):
    rows = tl.program_id(0) * TILE_M + tl.arange(0, TILE_M)
    cols = tl.program_id(1) * TILE_N + tl.arange(0, TILE_N)
    total = tl.zeros((TILE_M, TILE_N), dtype=tl.float32)
    for start in range(0, K, TILE_K):
        inner = start + tl.arange(0, TILE_K)
        # "ieee" instead of TF32: the contract's tolerance is tight.
        total += tl.dot(load_tile(a, rows, inner, M, K), load_tile(b, inner, cols, K, N), input_precision="ieee")
    inside = (rows[:, None] < M) & (cols[None, :] < N)
    tl.store(c + rows[:, None] * N + cols[None, :], total, mask=inside)
