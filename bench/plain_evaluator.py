"""How kernels are judged without evald: import both sources, compare a few answers, time some calls. No isolation, and
whatever the kernel does to the clock or the comparison counts.

    python bench/plain_evaluator.py BUNDLE      one bundle in this process; prints its verdict and its milliseconds
"""

from __future__ import annotations

import importlib.util
import json
import statistics
import sys
import time
from pathlib import Path
from types import ModuleType

import torch

CHECKS, TRIALS = 5, 100


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"bundle_{path.parent.name}_{path.stem}".replace("-", "_"), path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def evaluate(bundle: Path, device: str) -> tuple[str, float | None]:
    """The verdict, and the median time of one call in milliseconds."""
    reference, candidate = imported(bundle / "reference.py"), imported(bundle / "custom.py")
    model, model_new = reference.Model().to(device), candidate.ModelNew().to(device)
    with torch.no_grad(), torch.device(device):
        for seed in range(CHECKS):
            torch.manual_seed(seed)
            inputs = reference.get_inputs()
            if not torch.allclose(model(*inputs), model_new(*inputs), atol=1e-4, rtol=1e-4):
                return "wrong_answer", None
        return "passed", timed_ms(model_new, inputs, device)


def timed_ms(model: torch.nn.Module, inputs: list[torch.Tensor], device: str) -> float:
    took_ms = []
    for _ in range(TRIALS):
        start = time.perf_counter()
        model(*inputs)
        if device == "cuda":
            torch.cuda.synchronize()
        took_ms.append((time.perf_counter() - start) * 1e3)
    return statistics.median(took_ms)


if __name__ == "__main__":
    found, call_ms = evaluate(Path(sys.argv[1]), "cuda" if torch.cuda.is_available() else "cpu")
    print(json.dumps({"verdict": found, "call_ms": call_ms}))
