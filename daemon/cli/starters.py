"""Bundles to start from, one per kind: small, commented, and correct, so that `evald eval` passes on them as they are.

JSON has no comments, so explanations stand in the sources, and in a README beside them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from daemon.cli import starter_sources as sources


@dataclass(frozen=True)
class Starter:
    """One kind of bundle: what it shows, its contract without a name, its source files."""

    summary: str
    contract: Mapping[str, Any]
    files: Mapping[str, str]

    def contract_text(self, name: str) -> str:
        return json.dumps({"name": name, **self.contract}, indent=2, ensure_ascii=False) + "\n"

    def readme(self, kind: str, name: str) -> str:
        summary = self.summary[0].upper() + self.summary[1:]
        return sources.README.format(kind=kind, name=name, summary=summary)


def _tensor(name: str, role: str = "input", *, shape: tuple[int | str, ...], **spec: Any) -> dict[str, Any]:
    tensor: dict[str, Any] = {"name": name, "type": "tensor"}
    if role != "input":
        tensor["role"] = role
    return tensor | {"tensor_spec": {"shape": list(shape), "dtype": "float32", **spec}}


def _kernel(kernel_type: str, source_file: str, **more: Any) -> dict[str, Any]:
    return {"kernel_type": kernel_type, "source_file": source_file, **more}


_RANDN = {"kind": "randn"}
_REFERENCE = _kernel("torch", "reference.py")
_SCALE_IO = {
    "args": [
        _tensor("x", shape=("N",), init=_RANDN),
        _tensor("y", "output", shape=("N",)),
        {"name": "factor", "type": "float", "value": 2.0},
        {"name": "n", "type": "int", "value": "N"},
    ]
}
_N_CASES = [{"name": "small", "bind": {"N": 1000}}, {"name": "large", "bind": {"N": 100_003}}]

STARTERS: dict[str, Starter] = {
    "torch": Starter(
        "one PyTorch module, run and timed; nothing is compared",
        {"kernel": _kernel("torch", "kernel.py")},
        {"kernel.py": sources.TORCH},
    ),
    "torch-compare": Starter(
        "a PyTorch module against a reference: answers compared, both timed",
        {"problem": "softmax", "ref_kernel": _REFERENCE, "custom_kernel": _kernel("torch", "kernel.py")},
        {"reference.py": sources.SOFTMAX_REFERENCE, "kernel.py": sources.SOFTMAX_CUSTOM},
    ),
    "torch_cuda": Starter(
        "a module with a C++ (or CUDA) extension built by load_inline, against a PyTorch reference",
        {
            "problem": "relu",
            "timeout": 300,
            "ref_kernel": _REFERENCE,
            "custom_kernel": _kernel("torch_cuda", "kernel.py"),
        },
        {"reference.py": sources.RELU_REFERENCE, "kernel.py": sources.RELU_EXTENSION},
    ),
    "triton": Starter(
        "a Triton kernel, called as the contract says, against a PyTorch reference",
        {
            "problem": "add",
            "ref_kernel": _kernel("torch", "reference.py", metadata={"function_name": "add"}),
            "custom_kernel": _kernel(
                "triton",
                "kernel.py",
                io={
                    "args": [
                        _tensor("x", shape=("N",), init=_RANDN),
                        _tensor("y", shape=("N",), init=_RANDN),
                        _tensor("out", "output", shape=("N",)),
                        {"name": "n", "type": "int", "value": "N"},
                        {"name": "BLOCK", "type": "int", "value": 1024, "is_meta": True},
                    ],
                    "launch": {"grid": "ceildiv(N, 1024)", "num_warps": 4},
                },
                metadata={"kernel_name": "add_kernel"},
            ),
            "cases": _N_CASES,
        },
        {"reference.py": sources.ADD_REFERENCE, "kernel.py": sources.ADD_TRITON},
    ),
    "cuda": Starter(
        "a CUDA C++ kernel, compiled by NVRTC and launched as the contract says (needs a GPU to run)",
        {
            "kernel": _kernel(
                "cuda",
                "kernel.cu",
                io=_SCALE_IO | {"launch": {"grid": "ceildiv(N, 256)", "block": 256}},
                metadata={"kernel_name": "scale"},
            ),
            "cases": _N_CASES,
        },
        {"kernel.cu": sources.SCALE_CUDA},
    ),
    "multi_kernel": Starter(
        "a Python function that may mix PyTorch, Triton and CUDA, against a PyTorch reference",
        {
            "problem": "normalise",
            "ref_kernel": _kernel("torch", "reference.py", metadata={"function_name": "normalise"}),
            "custom_kernel": _kernel(
                "multi_kernel",
                "kernel.py",
                io={"args": [_tensor("x", shape=(128, 512), init=_RANDN)]},
                metadata={"entry_point": "run"},
            ),
        },
        {"reference.py": sources.NORMALISE_REFERENCE, "kernel.py": sources.NORMALISE_STEPS},
    ),
    "cases": Starter(
        "one kernel at several sizes: shapes and values use symbols that each case binds",
        {
            "problem": "matmul",
            "ref_kernel": _kernel(
                "torch",
                "reference.py",
                io={
                    "args": [
                        _tensor("a", shape=("M", "K"), init=_RANDN),
                        _tensor("b", shape=("K", "N"), init=_RANDN),
                    ]
                },
                metadata={"function_name": "matmul"},
            ),
            "custom_kernel": _kernel("torch", "kernel.py", metadata={"function_name": "matmul"}),
            "cases": [
                {"name": "square", "bind": {"M": 128, "K": 128, "N": 128}},
                {"name": "tall", "bind": {"M": 1000, "K": 64, "N": 8}},
                {"name": "ragged", "bind": {"M": 33, "K": 65, "N": 129}},
            ],
            "atol": 1e-4,
            "rtol": 1e-4,
        },
        {"reference.py": sources.MATMUL_REFERENCE, "kernel.py": sources.MATMUL_CUSTOM},
    ),
    "data": Starter(
        "inputs whose bytes stand in the contract, for kernels that need particular values",
        {
            "problem": "lookup",
            "ref_kernel": _kernel("torch", "reference.py", metadata={"function_name": "lookup"}),
            "custom_kernel": _kernel(
                "multi_kernel",
                "kernel.py",
                io={
                    "args": [
                        _tensor("table", shape=(16,), init=_RANDN),
                        {
                            "name": "index",
                            "type": "tensor",
                            "tensor_spec": {
                                "shape": [4],
                                "dtype": "int32",
                                "data": {"data_b64": "AAAAAAUAAAAKAAAADwAAAA=="},
                            },
                        },
                    ]
                },
                metadata={"entry_point": "lookup"},
            ),
        },
        {"reference.py": sources.LOOKUP_REFERENCE, "kernel.py": sources.LOOKUP_CUSTOM},
    ),
}
