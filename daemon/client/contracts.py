"""Contracts as Python calls, so that an editor completes them. What they return is the JSON of a contract.

Only what is given is written: every default is the daemon's. Shapes, values, launch and work may hold expressions
over the symbols of `cases` ("N", "ceildiv(N, 128)").
"""

from __future__ import annotations

import base64
import difflib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict, Unpack

Contract = dict[str, Any]
KernelType = Literal["torch", "torch_cuda", "triton", "cuda", "multi_kernel"]
DType = Literal[
    "float64", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "int64", "int32", "int16", "int8",
    "uint8", "uint16", "uint32", "uint64", "bool", "complex64",
]  # fmt: skip
Role = Literal["input", "output", "inout"]
Extent = int | str
Extents = Extent | Sequence[Extent]


class Work(TypedDict, total=False):
    """What one call has to do at least; `unit` does the flops (float32)."""

    bytes: Extent
    flops: Extent
    unit: Literal["float32", "tensor_tf32", "tensor_bf16", "tensor_fp16", "tensor_fp64"]


class Fields(TypedDict, total=False):
    """What every contract may have beside its kernels; docs/reference/contract.md explains each."""

    name: str
    problem: str
    labels: Mapping[str, str]
    priority: int
    cases: Sequence[Mapping[str, Any]]
    correctness_trials: int
    num_trials: int
    timeout: float
    atol: float
    rtol: float
    static_args: Sequence[str]
    timing: Mapping[str, Any]
    requires: Mapping[str, Any]
    matmul_precision: Literal["highest", "high", "medium"]
    work: Work
    metrics: bool | Sequence[str]
    checks: Sequence[Literal["memcheck", "racecheck", "initcheck", "synccheck"]]


class Metadata(TypedDict, total=False):
    """What a kernel type needs to know beyond the source."""

    function_name: str
    class_name: str
    method_name: str
    kernel_name: str
    compiler_options: Sequence[str]
    backend: Literal["nvrtc", "nvcc"]
    name_expressions: Sequence[str]
    entry_point: str


def evaluate(kernel: Contract | str, **fields: Unpack[Fields]) -> Contract:
    """Build, run and time one kernel; a plain source text is a torch one. Raises `TypeError` for a keyword that is no
    field."""
    return {"kernel": _kernel(kernel), **_known(fields)}


def compare(reference: Contract | str, candidate: Contract | str, **fields: Unpack[Fields]) -> Contract:
    """Judge `candidate` against `reference`; plain source texts are torch ones. Raises `TypeError` as `evaluate`."""
    return {"ref_kernel": _kernel(reference), "custom_kernel": _kernel(candidate), **_known(fields)}


def _known(fields: Fields) -> Fields:
    """Refuse keywords that are no field. A contract may have further keys, as notes that change nothing, so a misspelt
    keyword would become a note."""
    for name in fields.keys() - Fields.__annotations__.keys() - {"contract_version"}:
        near = difflib.get_close_matches(name, Fields.__annotations__, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise TypeError(f"a contract has no field {name!r}{meant}")
    return fields


def kernel(
    source: str,
    kernel_type: KernelType = "torch",
    *,
    args: Sequence[Contract] | None = None,
    launch: Contract | None = None,
    **metadata: Unpack[Metadata],
) -> Contract:
    """One kernel. `args` in call order, from `tensor`, `output` and `scalar`; needed for triton, cuda, multi_kernel."""
    io = {"args": list(args or ())} | ({"launch": launch} if launch is not None else {})
    made: Contract = {"kernel_type": kernel_type, "source_code": source}
    made |= {"io": io} if args is not None or launch is not None else {}
    return made | ({"metadata": dict(metadata)} if metadata else {})


def launch(
    grid: Extents = 1,
    block: Extents | None = None,
    *,
    num_warps: Extent | None = None,
    num_stages: Extent | None = None,
    shared_mem: Extent | None = None,
    cluster: Extents | None = None,
    cooperative: bool | None = None,
) -> Contract:
    """How a GPU kernel is launched. `shared_mem`: dynamic, bytes."""
    return {"grid": grid} | _given(
        block=block,
        num_warps=num_warps,
        num_stages=num_stages,
        shared_mem=shared_mem,
        cluster=cluster,
        cooperative=cooperative,
    )


def tensor(
    name: str,
    shape: Sequence[Extent],
    dtype: DType = "float32",
    *,
    role: Role = "input",
    init: Literal["randn", "uniform", "zeros", "ones", "full", "arange"] = "randn",
    seed: int | None = None,
    mean: float | None = None,
    std: float | None = None,
    low: float | None = None,
    high: float | None = None,
    fill_value: float | str | None = None,
    start: float | None = None,
    step: float | None = None,
) -> Contract:
    """A tensor whose content is drawn; without `seed` from a fresh secret one for every trial."""
    how = {"kind": init} | _given(
        seed=seed, mean=mean, std=std, low=low, high=high, fill_value=fill_value, start=start, step=step
    )
    return _tensor(name, role, {"shape": list(shape), "dtype": dtype, "init": how})


def embedded(name: str, data: bytes, shape: Sequence[int], dtype: DType, *, role: Role = "input") -> Contract:
    """A tensor whose bytes (C order, little endian) are in the contract, compressed where that helps."""
    packed = zlib.compress(data, 6)
    smaller = len(packed) < len(data)
    content = {"data_b64": base64.b64encode(packed if smaller else data).decode()}
    content |= {"compress": "zlib"} if smaller else {}
    return _tensor(name, role, {"shape": list(shape), "dtype": dtype, "data": content})


def output(
    name: str,
    shape: Sequence[Extent],
    dtype: DType = "float32",
    *,
    atol: float | None = None,
    rtol: float | None = None,
) -> Contract:
    """A tensor that the kernel writes, with tolerances of its own if given."""
    return _tensor(name, "output", {"shape": list(shape), "dtype": dtype} | _given(atol=atol, rtol=rtol))


def scalar(name: str, value: float | str | bool, *, type: str | None = None, is_meta: bool = False) -> Contract:
    """A number, text or flag; `type` is int, float, str or bool, told by the value when not given. `is_meta`: a Triton
    constexpr.
    """
    told = {bool: "bool", int: "int", float: "float", str: "str"}[value.__class__] if type is None else type
    return {"name": name, "type": told, "value": value} | ({"is_meta": True} if is_meta else {})


def case(name: str, **bind: int) -> Contract:
    """One binding of the contract's symbols: `case("large", N=4096)`."""
    return {"name": name, "bind": bind}


def _kernel(given: Contract | str) -> Contract:
    return kernel(given) if isinstance(given, str) else given


def _tensor(name: str, role: Role, spec: Contract) -> Contract:
    return {"name": name, "type": "tensor", "role": role, "tensor_spec": spec}


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
