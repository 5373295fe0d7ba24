"""One new token attends to a cache that lies in pages: grouped heads, an online softmax over the pages.

The slopes and the two scales are optional features; their tensors are empty when they are not used.
"""

import triton
import triton.language as tl


@triton.jit
def attend(
    out, query, key_cache, value_cache, pages, lengths, slopes, key_scale, value_scale,
    scale, pages_per_row, groups, is_quantised,
    HEADS_PER_GROUP: tl.constexpr, PAGE: tl.constexpr, WIDTH: tl.constexpr, WITH_SLOPES: tl.constexpr,
):
    row = tl.program_id(0)
    head = tl.program_id(1)
    heads = tl.num_programs(1)
    group = head // HEADS_PER_GROUP
    lanes = tl.arange(0, WIDTH)
    slots = tl.arange(0, PAGE)

    q = tl.load(query + (row * heads + head) * WIDTH + lanes) * scale
    length = tl.load(lengths + row)
    largest = float("-inf")
    weight = 0.0
    mixed = tl.zeros((WIDTH,), dtype=tl.float32)

    for number in range(tl.cdiv(length, PAGE)):
        page = tl.load(pages + row * pages_per_row + number).to(tl.int64)
        place = ((page * groups + group) * PAGE + slots)[:, None] * WIDTH + lanes[None, :]
        position = number * PAGE + slots
        known = position < length

        keys = tl.load(key_cache + place, mask=known[:, None], other=0.0)
        if is_quantised:
            keys *= tl.load(key_scale + page * groups + group)
        score = tl.sum(keys * q[None, :], axis=1)
        if WITH_SLOPES:
            score += tl.load(slopes + head) * (position - length + 1)
        score = tl.where(known, score, float("-inf"))

        new_largest = tl.maximum(largest, tl.max(score, axis=0))
        share = tl.exp(score - new_largest)
        shrink = tl.exp(largest - new_largest)
        values = tl.load(value_cache + place, mask=known[:, None], other=0.0)
        if is_quantised:
            values *= tl.load(value_scale + page * groups + group)
        mixed = mixed * shrink + tl.sum(share[:, None] * values, axis=0)
        weight = weight * shrink + tl.sum(share, axis=0)
        largest = new_largest

    tl.store(out + (row * heads + head) * WIDTH + lanes, mixed / weight)
