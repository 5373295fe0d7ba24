"""One stage of a Triton kernel, in a process of its own: `python -m executor.triton_stage STAGE FOLDER SPEC`.

"build" compiles ahead; "again" launches in warm-up mode with real, aligned tensors and a driver of the same
architecture, and counts what was not found in the cache.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
import triton

from daemon.executor.backends import triton as backend
from daemon.executor.backends._triton_ahead import use_absent_gpu
from daemon.executor.backends._triton_binding import tuner_of
from daemon.executor.shared.layout import ALIGN_BYTES
from daemon.executor.source import KernelFault, Source

ARCHITECTURE = "9.0"


def main(stage: str, folder: Path, spec: dict[str, Any]) -> object:
    places = (folder / "bundle/kernel.py", folder / "bundle", folder / "artifacts", "candidate", "cuda")
    told = (spec["metadata"], tuple(spec["args"]), spec["launch"])
    source = Source(*places, *told, architecture=ARCHITECTURE)
    return build(source) if stage == "build" else again(source, spec["args"])


def build(source: Source) -> object:
    try:
        return backend.build(source)
    except KernelFault as fault:
        return {"verdict": fault.verdict, "message": fault.message}


def again(source: Source, args: list[dict[str, Any]]) -> list[bool]:
    hits: list[bool] = []
    triton.knobs.compilation.listener = lambda *, cache_hit, **_: hits.append(cache_hit)
    use_absent_gpu(ARCHITECTURE)
    launch = backend.load(source).call
    inner = next(cell.cell_contents for cell in launch._launch.__closure__ if hasattr(cell.cell_contents, "run"))
    tuner = tuner_of(inner)
    for config in [None] if tuner is None else [one for one in tuner.configs if one.kwargs["BLOCK"] != 96]:
        if tuner is not None:
            tuner.configs = [config]
        positional, named = launch._binding.arrange([real(arg) for arg in args])
        inner.run(*positional, grid=(4, 1, 1), warmup=True, **named, **launch._options)
    return hits


def real(arg: dict[str, Any]) -> Any:
    if arg["type"] != "tensor":
        return arg["value"]
    shape, dtype = arg["shape"], getattr(torch, arg["dtype"])
    if 0 in shape:
        return torch.empty(shape, dtype=dtype)
    arena = torch.empty(1 << 16, dtype=torch.uint8)
    start = -arena.data_ptr() % ALIGN_BYTES
    count = torch.Size(shape).numel()
    return arena[start : start + count * dtype.itemsize].view(dtype).reshape(shape)


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))))
