"""Contracts to start from: valid ones of every form and kernel type, and the five kernel types."""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Mapping
from typing import Any

from daemon.config import Limits
from daemon.contract import KernelTypeSpec, ParsedContract, parse_contract
from daemon.errors import BundleError, Problem

_TARGET = ("function_name", "class_name", "method_name")
TYPES: Mapping[str, KernelTypeSpec] = {
    spec.name: spec
    for spec in (
        KernelTypeSpec("torch", metadata_keys=_TARGET),
        KernelTypeSpec("torch_cuda", metadata_keys=_TARGET),
        KernelTypeSpec(
            "triton", io_required=True, metadata_keys=("kernel_name",), writes_outputs=True, lacks_dtypes=("complex64",)
        ),
        KernelTypeSpec(
            "cuda",
            io_required=True,
            is_python=False,
            metadata_keys=("kernel_name", "compiler_options", "backend", "name_expressions"),
            metadata_aliases={"compile_options": "compiler_options"},
            writes_outputs=True,
        ),
        KernelTypeSpec(
            "multi_kernel", io_required=True, metadata_keys=("entry_point",), metadata_required=("entry_point",)
        ),
    )
}
LIMITS = Limits()

Json = dict[str, Any]


def tensor(name: str, shape: list[Any], dtype: str = "float32", role: str = "input", **spec: Any) -> Json:
    if role == "input" and "init" not in spec and "data" not in spec:
        spec["init"] = {"kind": "randn"}
    return {"name": name, "type": "tensor", "role": role, "tensor_spec": {"shape": shape, "dtype": dtype, **spec}}


def data(payload: bytes, **more: Any) -> Json:
    return {"data_b64": base64.b64encode(payload).decode(), **more}


def triton_kernel() -> Json:
    return {
        "source_code": "import triton\n",
        "kernel_type": "triton",
        "io": {
            "args": [
                tensor("x", ["N"]),
                tensor("y", ["N"], role="output"),
                {"name": "n", "type": "int", "value": "N"},
                {"name": "BLOCK", "type": "int", "value": 256, "is_meta": True},
            ],
            "launch": {"grid": ["ceildiv(N, 256)"], "num_warps": 4},
        },
    }


def cuda_kernel() -> Json:
    return {
        "source_code": "__global__ void f(const float* x, float* y, float a) {}",
        "kernel_type": "cuda",
        "io": {
            "args": [
                tensor("x", [1024], init={"kind": "uniform", "low": -1, "high": 1, "seed": 3}),
                tensor("y", [1024], role="output"),
                {"name": "a", "type": "float", "value": 2},
            ],
            "launch": {"grid": {"x": 4}, "block": 256, "shared_mem": 1024},
        },
        "metadata": {"compile_options": ["-O3"], "backend": "nvrtc"},
    }


def evaluate() -> Json:
    return {"kernel": cuda_kernel(), "num_trials": 10, "timeout": 60}


def compare() -> Json:
    return {
        "name": "scale",
        "ref_kernel": {"source_code": "class Model: ...", "kernel_type": "torch"},
        "custom_kernel": triton_kernel(),
        "cases": [{"name": "small", "bind": {"N": 1000}}, {"name": "large", "bind": {"N": 100_000}}],
        "static_args": ["x"],
        "atol": 1e-3,
        "labels": {"team": "a"},
        "timing": {"mode": "stream", "max_s": 1},
        "requires": {"gpu": "H200", "min_capability": "9.0"},
        "metrics": ["SpeedOfLight"],
        "checks": ["memcheck"],
    }


def legacy() -> Json:
    return {"ref_code": "class Model: ...", "custom_code": "class ModelNew: ..."}


def with_args(*args: Json, **top: Any) -> Json:
    """A torch kernel called with `args`: no rules but those of the arguments themselves."""
    return {"kernel": {"source_code": "x", "kernel_type": "torch", "io": {"args": list(args)}}, **top}


def changed(document: Json, path: str, value: Any) -> Json:
    """A copy of `document` with the value at a dotted path (`kernel.io.args.0.name`) replaced."""
    result = copy.deepcopy(document)
    *parents, last = path.split(".")
    place: Any = result
    for step in parents:
        place = place[int(step) if step.isdigit() else step]
    place[int(last) if last.isdigit() else last] = value
    return result


def parsed(document: Json | bytes, files: Mapping[str, bytes] | None = None, limits: Limits = LIMITS) -> ParsedContract:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse_contract(raw, files or {}, types=TYPES, limits=limits)


def problems(
    document: Json | bytes, files: Mapping[str, bytes] | None = None, limits: Limits = LIMITS
) -> tuple[Problem, ...]:
    """What is wrong with `document`; empty when nothing is."""
    try:
        parsed(document, files, limits)
    except BundleError as error:
        return error.problems
    return ()


def fields(document: Json | bytes, files: Mapping[str, bytes] | None = None, limits: Limits = LIMITS) -> list[str]:
    return [problem.field for problem in problems(document, files, limits)]


def only(document: Json | bytes, files: Mapping[str, bytes] | None = None, limits: Limits = LIMITS) -> Problem:
    """The one problem that `document` has."""
    found = problems(document, files, limits)
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]
