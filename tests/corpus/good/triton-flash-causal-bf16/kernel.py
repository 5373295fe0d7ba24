"""Causal flash attention: online softmax over blocks of keys, of a ragged length."""

import triton
import triton.language as tl


@triton.jit
def attend(q, k, v, out, length, scale, HEAD: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr):
    block = tl.program_id(0)
    base = tl.program_id(1).to(tl.int64) * length * HEAD
    rows = block * ROWS + tl.arange(0, ROWS)
    inner = tl.arange(0, HEAD)
    place = rows[:, None] * HEAD + inner[None, :]
    query = tl.load(q + base + place, mask=rows[:, None] < length, other=0.0)
    best = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    answer = tl.zeros((ROWS, HEAD), tl.float32)
    for start in range(0, (block + 1) * ROWS, COLS):
        cols = start + tl.arange(0, COLS)
        key = tl.load(k + base + cols[None, :] * HEAD + inner[:, None], mask=cols[None, :] < length, other=0.0)
        score = tl.dot(query, key) * (scale * 1.4426950408889634)
        seen = (rows[:, None] >= cols[None, :]) & (cols[None, :] < length)
        score = tl.where(seen, score, float("-inf"))
        new = tl.maximum(best, tl.max(score, 1))
        weight = tl.exp2(score - new[:, None])
        keep = tl.exp2(best - new)
        total = total * keep + tl.sum(weight, 1)
        value = tl.load(v + base + cols[:, None] * HEAD + inner[None, :], mask=cols[:, None] < length, other=0.0)
        answer = tl.dot(weight.to(value.dtype), value, answer * keep[:, None])
        best = new
    tl.store(out + base + place, (answer / total[:, None]).to(out.dtype.element_ty), mask=rows[:, None] < length)
