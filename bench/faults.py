"""What bundles that misbehave cost, and whether those beside them notice.

    python bench/faults.py [--good 8] [--device auto|cpu|cuda] [--max-s S] [--elements N]

First good Triton kernels (those of `throughput.py`) alone, then as many with three others among them, all dropped at
once: a kernel that never ends, one that writes far outside its tensors (on a CPU it reads address 0), and one whose
source compiles an extension with `load_inline`. Printed: how long each of the three had the device; how long the
extension took to compile and how long the device was held for that; verdicts and times of the good ones in both runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from throughput import EVERY_WRONG, Daemon, asked, bundle, running, written

HANG = """\
import torch
from torch import nn

class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.relu(x)
        if x.is_cuda:
            torch.cuda._sleep(1 << 62)
        while not x.is_cuda:
            pass
        return y
"""
BEYOND = """\
import ctypes, torch, triton
import triton.language as tl
from torch import nn

@triton.jit
def write_at(y_ptr, offset):
    tl.store(y_ptr + offset, 1.0)

class ModelNew(nn.Module):
    def forward(self, x):
        y = torch.relu(x)
        if x.is_cuda:
            write_at[(1,)](y, 1 << 46)
        else:
            ctypes.string_at(0)
        return y
"""
INLINE = """\
import torch
from torch import nn
from torch.utils.cpp_extension import load_inline

DECLARED = "torch::Tensor relu(torch::Tensor x);"
ON_CPU = "torch::Tensor relu(torch::Tensor x) { return x.clamp_min(0); }"
ON_GPU = '''
__global__ void relu_kernel(const float* x, float* y, int64_t n) {
    int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
    if (i < n) y[i] = x[i] > 0 ? x[i] : 0;
}

torch::Tensor relu(torch::Tensor x) {
    auto y = torch::empty_like(x);
    auto stream = at::cuda::getCurrentCUDAStream();
    relu_kernel<<<(x.numel() + 255) / 256, 256, 0, stream>>>(x.data_ptr<float>(), y.data_ptr<float>(), x.numel());
    return y;
}
'''
has_gpu = torch.cuda.is_available()
module = load_inline(
    name="relu_inline",
    cpp_sources=DECLARED if has_gpu else ON_CPU,
    cuda_sources="#include <ATen/cuda/CUDAContext.h>" + ON_GPU if has_gpu else None,
    functions=["relu"],
)

class ModelNew(nn.Module):
    def forward(self, x):
        return module.relu(x)
"""
TIMEOUT_S = 30  # of the three: a launch may wait for its code to be loaded, which a kernel that never ends holds up
OTHERS = {
    "hang": (HANG, "torch", "timeout"),
    "beyond": (BEYOND, "torch", "runtime_error"),
    "inline": (INLINE, "torch_cuda", "passed"),
}


def at_once(evald: Daemon, folders: list[Path]) -> list[dict[str, Any]]:
    """The results of bundles that all come at the same moment; those of the three are told as they come."""
    start, documents = time.perf_counter(), {}
    for folder in folders:
        evald.drop(folder)
    while len(documents) < len(folders):
        time.sleep(0.01)
        for name in {folder.name for folder in folders} - set(documents):
            if (document := evald.found(name)) is not None:
                documents[name] = document
                if name in OTHERS:
                    print(f"{time.perf_counter() - start:8.2f} s {name}: {document['verdict']}", flush=True)
    return [documents[folder.name] for folder in folders]


def good_ones(documents: list[dict[str, Any]]) -> str:
    times_us = [one["cases"][0]["timing"]["stats"]["median"] * 1e3 for one in documents if one["verdict"] == "passed"]
    passed = f"{len(times_us)} of {len(documents)} passed"
    if not times_us:
        return passed
    return f"{passed}, median {statistics.median(times_us):.2f} us, {min(times_us):.2f} to {max(times_us):.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description="What bundles that misbehave cost.")
    parser.add_argument("--good", type=int, default=8)
    arguments, judged_on = asked(parser)
    device, elements = judged_on.kind, arguments.elements
    print(f"{judged_on}, {arguments.good} good kernels on {elements * 4 / 1e6:.1f} MB")
    with tempfile.TemporaryDirectory() as scratch_name:
        scratch = Path(scratch_name)

        def good(run: str, number: int) -> Path:
            folder = scratch / "made" / f"{run}{number}"
            return bundle(
                folder, EVERY_WRONG * (number + (100 if run == "beside" else 0)), device, elements, arguments.max_s
            )

        with running(scratch / "home", device) as evald:
            at_once(evald, [good("first", 1000)])
            alone = at_once(evald, [good("alone", number) for number in range(arguments.good)])
            folders = [good("beside", number) for number in range(arguments.good)]
            for place, (name, (source, kernel_type, _)) in enumerate(OTHERS.items()):
                folder, kernel = scratch / "made" / name, {"kernel_type": kernel_type}
                other = written(folder, source, kernel, elements, arguments.max_s, timeout=TIMEOUT_S)
                folders.insert(1 + place * len(folders) // len(OTHERS), other)
            documents = dict(zip((folder.name for folder in folders), at_once(evald, folders), strict=True))
    others = {name: documents.pop(name) for name in OTHERS}
    print(f"good ones alone:        {good_ones(alone)}")
    print(f"good ones with others:  {good_ones(list(documents.values()))}")
    print(
        f"{'':10}{'verdict':16}{'as expected':>12}{'held s':>8}{'compiled s':>12}{'held for that s':>17}{'share %':>9}"
    )
    for name, document in others.items():
        verdict = document["verdict"]
        print(f"{name:10}{verdict:16}{verdict == OTHERS[name][2]!s:>12}{document['evaluate_ms'] / 1e3:8.2f}", end="")
        if built_ms := document["cases"][0]["build"].get("build_ms") if document["cases"] else None:
            held_ms = document["cases"][0]["stages_ms"]["build"]
            print(f"{built_ms / 1e3:12.2f}{held_ms / 1e3:17.3f}{held_ms / built_ms:9.2%}", end="")
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
