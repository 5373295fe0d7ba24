"""Writes contract.json beside this file: 25 arguments, of which the adapters and the bookkeeping of a batch are embedded."""

import base64
import json
import random
import struct
import zlib
from pathlib import Path

TOKENS, RANK, WIDTH, ADAPTERS, SLICES = 37, 16, 256, 3, 2
TILE_T, TILE_R, TILE_K, SPLIT = 16, 16, 32, 2


def tensor(name, shape, dtype, **spec):
    return {"name": name, "type": "tensor", "tensor_spec": {"shape": shape, "dtype": dtype, **spec}}


def embedded(name, shape, dtype, code, values):
    packed = zlib.compress(struct.pack(f"<{len(values)}{code}", *values), 9)
    data = {"data_b64": base64.b64encode(packed).decode(), "dtype": dtype, "shape": shape, "compress": "zlib"}
    return tensor(name, shape, dtype, data=data)


def number(name, value, kind="int"):
    return {"name": name, "type": kind, "value": value}


def meta(name, value, kind="int"):
    return {**number(name, value, kind), "is_meta": True}


def arguments():
    chance = random.Random(7)
    adapter_of = [chance.randrange(ADAPTERS) for _ in range(TOKENS)]
    order = sorted(range(TOKENS), key=lambda token: adapter_of[token])
    counts = [adapter_of.count(adapter) for adapter in range(ADAPTERS)]
    starts = [sum(counts[:adapter]) for adapter in range(ADAPTERS)]
    # Few different values: that is what makes embedded weights compress.
    down = [chance.choice((-0.25, -0.125, 0.0, 0.125, 0.25)) for _ in range(SLICES * ADAPTERS * RANK * WIDTH)]
    out = tensor("out", [SLICES, TOKENS, RANK], "float32", init={"kind": "zeros"}, atol=1e-2, rtol=1e-3)
    return [
        tensor("x", [TOKENS, WIDTH], "float16", init={"kind": "randn"}),
        embedded("down", [SLICES, ADAPTERS, RANK, WIDTH], "float16", "e", down),
        {**out, "role": "output"},
        number("tokens", TOKENS), number("rank", RANK), number("width", WIDTH),
        embedded("sorted_tokens", [TOKENS], "int32", "i", order),
        embedded("tokens_of", [ADAPTERS], "int32", "i", counts),
        embedded("start_of", [ADAPTERS], "int32", "i", starts),
        embedded("adapters", [ADAPTERS], "int32", "i", range(ADAPTERS)),
        number("scaling", 0.5, "float"),
        number("x_token", WIDTH), number("x_inner", 1),
        number("down_slice", ADAPTERS * RANK * WIDTH), number("down_adapter", RANK * WIDTH),
        number("down_rank", WIDTH), number("down_inner", 1),
        number("out_slice", TOKENS * RANK), number("out_token", RANK), number("out_rank", 1),
        meta("TILE_T", TILE_T), meta("TILE_R", TILE_R), meta("TILE_K", TILE_K), meta("EVEN", True, "bool"),
        meta("SPLIT", SPLIT),
    ]


def contract():
    args = arguments()
    assert len(args) == 25
    grid = {"x": -(-TOKENS // TILE_T) * SPLIT, "y": SLICES, "z": ADAPTERS}
    launch = {"grid": grid, "num_warps": 4}
    return {
        "name": "triton-lora-shrink",
        "problem": "adapters/lora-shrink",
        "labels": {"suite": "gpu"},
        "ref_kernel": {"source_file": "reference.py", "kernel_type": "torch", "metadata": {"function_name": "shrink"}},
        "custom_kernel": {"source_file": "kernel.py", "kernel_type": "triton", "io": {"args": args, "launch": launch}},
        "num_trials": 10,
        "correctness_trials": 2,
        "timeout": 30,
        "timing": {"max_s": 0.3},
    }


if __name__ == "__main__":
    Path(__file__).with_name("contract.json").write_text(json.dumps(contract(), indent=1) + "\n", "utf-8")
