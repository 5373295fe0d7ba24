"""The first half of low-rank adapters for a batch whose tokens use different adapters: x times the down matrix of each
token's own adapter, for several slices at once, the inner dimension split over programs that add up atomically."""

import triton
import triton.language as tl


@triton.jit
def shrink(
    x, down, out, tokens, rank, width, sorted_tokens, tokens_of, start_of, adapters, scaling,
    x_token, x_inner, down_slice, down_adapter, down_rank, down_inner, out_slice, out_token, out_rank,
    TILE_T: tl.constexpr, TILE_R: tl.constexpr, TILE_K: tl.constexpr, EVEN: tl.constexpr, SPLIT: tl.constexpr,
):
    part = tl.program_id(0) % SPLIT
    tile = tl.program_id(0) // SPLIT
    piece = tl.program_id(1)
    which = tl.program_id(2)

    adapter = tl.load(adapters + which)
    count = tl.load(tokens_of + which)
    if adapter < 0 or tile * TILE_T >= count:
        return

    local = tile * TILE_T + tl.arange(0, TILE_T)
    valid = local < count
    token = tl.load(sorted_tokens + tl.load(start_of + which) + local, mask=valid, other=0)
    ranks = tl.arange(0, TILE_R)
    inner = part * TILE_K + tl.arange(0, TILE_K)

    x_at = x + token[:, None] * x_token + inner[None, :] * x_inner
    down_at = down + piece * down_slice + adapter * down_adapter + ranks[None, :] * down_rank + inner[:, None] * down_inner
    total = tl.zeros((TILE_T, TILE_R), dtype=tl.float32)
    for start in range(0, width, TILE_K * SPLIT):
        if EVEN:
            left = tl.load(x_at, mask=valid[:, None], other=0.0)
            right = tl.load(down_at, mask=ranks[None, :] < rank, other=0.0)
        else:
            left = tl.load(x_at, mask=valid[:, None] & (start + inner[None, :] < width), other=0.0)
            right = tl.load(down_at, mask=(ranks[None, :] < rank) & (start + inner[:, None] < width), other=0.0)
        total += tl.dot(left, right)
        x_at += TILE_K * SPLIT * x_inner
        down_at += TILE_K * SPLIT * down_inner

    place = out + piece * out_slice + token[:, None] * out_token + ranks[None, :] * out_rank
    inside = valid[:, None] & (ranks[None, :] < rank) & (token[:, None] < tokens)
    if SPLIT == 1:
        tl.store(place, total * scaling, mask=inside)
    else:
        tl.atomic_add(place, total * scaling, mask=inside)
