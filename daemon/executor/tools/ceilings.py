"""What a device can do at most, as far as our own kernels reach: one small file per device in the state folder.

Bandwidth is that of a copy beyond every cache, read and written bytes together; rates are those of large matrix
products by the vendor's library. Both are ordinary evaluations in ordinary cells, timed as any other, once per device,
driver and torch; on a CPU per model and number of threads, with sizes that two cores do in about a second. No torch
here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from daemon import fsio, log
from daemon.evaluation import Frozen
from daemon.executor.host.devices import Device
from daemon.executor.host.environment import cpu_name
from daemon.paths import Paths

_COPIED = 1 << 28  # float32: 1 GiB in, 1 GiB out
_COPIED_ON_CPU = 1 << 24  # 64 MiB in, 64 MiB out
_SOURCE = (
    "import torch\n\n\ndef copy(x, y):\n    y.copy_(x)\n\n\ndef product(x, y, out):\n    torch.matmul(x, y, out=out)\n"
)
_SECONDS = 0.5
_CALLS_ON_CPU = 5
_FEW_THREADS = 8


class Ceilings(Frozen):
    """Bytes and floating point operations per second. `operations_per_s` by kind: `float32`, and `tensor_…` for what
    tensor cores do; a kind that was not measured is not there."""

    bytes_per_s: float
    operations_per_s: dict[str, float] = Field(default_factory=dict)


class Kept(Frozen):
    """Ceilings, and what they count for. `threads`: of a cell's pool, on a CPU."""

    device_name: str | None
    driver: str | None
    torch: str | None
    threads: int | None = None
    ceilings: Ceilings


# kind -> dtype, side of the square matrices, precision of torch's float32 products
_PRODUCTS = {
    "tensor_bf16": ("bfloat16", 8192, "highest"),
    "tensor_fp16": ("float16", 8192, "highest"),
    "tensor_tf32": ("float32", 8192, "high"),
    "float32": ("float32", 4096, "highest"),
    "tensor_fp64": ("float64", 4096, "highest"),
}


def contracts(threads: int | None = None) -> Iterator[tuple[str, dict[str, Any], float]]:
    """What is measured: a name (`copy`, or a kind of operation), a contract, and its bytes or operations per call.
    `threads`: of a CPU's cells; None for a GPU."""
    if threads is not None:
        yield from _contracts_for_cpu(threads)
        return
    yield "copy", _copy(_COPIED), 8.0 * _COPIED
    for kind, (dtype, side, precision) in _PRODUCTS.items():
        yield kind, {**_product(dtype, side), "matmul_precision": precision}, 2.0 * side**3


def _contracts_for_cpu(threads: int) -> Iterator[tuple[str, dict[str, Any], float]]:
    side = 1024 if threads < _FEW_THREADS else 2048
    few = {"num_trials": _CALLS_ON_CPU}
    yield "copy", {**_copy(_COPIED_ON_CPU, kind="ones"), **few}, 8.0 * _COPIED_ON_CPU
    yield "float32", {**_product("float32", side), **few}, 2.0 * side**3


def _copy(count: int, kind: str = "randn") -> dict[str, Any]:
    return _contract("copy", "float32", {"x": (count,), "y": (count,)}, kind)


def _product(dtype: str, side: int) -> dict[str, Any]:
    return _contract("product", dtype, dict.fromkeys(("x", "y", "out"), (side, side)))


def _contract(function: str, dtype: str, shapes: dict[str, tuple[int, ...]], kind: str = "randn") -> dict[str, Any]:
    *inputs, output = shapes
    args = [
        {"name": name, "type": "tensor", "role": "input",
         "tensor_spec": {"shape": list(shapes[name]), "dtype": dtype, "init": {"kind": kind}}}
        for name in inputs
    ]  # fmt: skip
    written = {"shape": list(shapes[output]), "dtype": dtype}
    args.append({"name": output, "type": "tensor", "role": "output", "tensor_spec": written})
    return {
        "name": f"ceiling-{function}-{dtype}",
        "kernel": {
            "kernel_type": "torch",
            "source_code": _SOURCE,
            "metadata": {"function_name": function},
            "io": {"args": args},
        },
        "correctness_trials": 1,
        "timing": {"max_s": _SECONDS},
        "timeout": 60,
    }


def measure(time_ms: Callable[[dict[str, Any]], float | None], threads: int | None = None) -> Ceilings | None:
    """Ask `time_ms` for the milliseconds a call of each contract takes. None where not even a copy could be timed."""
    found: dict[str, float] = {}
    for name, contract, amount in contracts(threads):
        took_ms = time_ms(contract)
        if took_ms:
            found[name] = amount / (took_ms / 1e3)
    bytes_per_s = found.pop("copy", None)
    return None if bytes_per_s is None else Ceilings(bytes_per_s=bytes_per_s, operations_per_s=found)


def path_of(device: Device, paths: Paths) -> Path:
    """Where the ceilings of `device` lie: one file per GPU, one for the CPU."""
    return paths.state / "ceilings" / f"{device.key}.json"


def kept(path: Path, device: Device, torch: str | None, threads: int | None = None) -> Ceilings | None:
    """The ceilings of `device` that were measured before, if they count for this driver, torch and pool."""
    try:
        found = Kept.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.story("the ceilings of a device cannot be read", level=30, file=path, reason=type(error).__name__)
        return None
    return found.ceilings if found == _known(device, torch, threads, found.ceilings) else None


def keep(path: Path, device: Device, torch: str | None, ceilings: Ceilings, threads: int | None = None) -> None:
    """Replace the file. A disk that refuses is logged: they are measured again the next time."""
    known = _known(device, torch, threads, ceilings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fsio.write_atomic(path, known.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        log.story("cannot write the ceilings of a device", level=30, file=path, reason=error)


def _known(device: Device, torch: str | None, threads: int | None, ceilings: Ceilings) -> Kept:
    name = device.name if device.is_gpu else cpu_name()
    return Kept(device_name=name, driver=device.driver, torch=torch, threads=threads, ceilings=ceilings)
