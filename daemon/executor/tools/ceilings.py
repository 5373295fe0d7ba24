"""What a device can do at most, as far as our own kernels reach: one small file per device in the state folder.

Bandwidth is that of a copy beyond every cache, read and written bytes together; rates are those of large matrix
products by the vendor's library. Both are ordinary evaluations in ordinary cells, timed as any other, once per device,
driver and torch. No torch here.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from daemon import fsio, log
from daemon.executor.devices import Device
from daemon.paths import Paths

_COPIED = 1 << 28  # float32: 1 GiB in, 1 GiB out
_SOURCE = (
    "import torch\n\n\ndef copy(x, y):\n    y.copy_(x)\n\n\ndef product(x, y, out):\n    torch.matmul(x, y, out=out)\n"
)
_SECONDS = 0.5


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Ceilings(_Frozen):
    """Bytes and floating point operations per second. `operations_per_s` by kind: `float32`, and `tensor_…` for what
    tensor cores do; a kind that was not measured is not there."""

    bytes_per_s: float
    operations_per_s: dict[str, float] = {}


class Kept(_Frozen):
    """Ceilings, and what they count for."""

    device_name: str
    driver: str | None
    torch: str | None
    ceilings: Ceilings


# kind -> dtype, side of the square matrices, precision of torch's float32 products
_PRODUCTS = {
    "tensor_bf16": ("bfloat16", 8192, "highest"),
    "tensor_fp16": ("float16", 8192, "highest"),
    "tensor_tf32": ("float32", 8192, "high"),
    "float32": ("float32", 4096, "highest"),
    "tensor_fp64": ("float64", 4096, "highest"),
}


def contracts() -> Iterator[tuple[str, dict[str, Any], float]]:
    """What is measured: a name (`copy`, or a kind of operation), a contract, and its bytes or operations per call."""
    yield "copy", _contract("copy", "float32", {"x": (_COPIED,), "y": (_COPIED,)}), 8.0 * _COPIED
    for kind, (dtype, side, precision) in _PRODUCTS.items():
        square = (side, side)
        contract = _contract("product", dtype, {"x": square, "y": square, "out": square})
        yield kind, {**contract, "matmul_precision": precision}, 2.0 * side**3


def _contract(function: str, dtype: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    *inputs, output = shapes
    args = [
        {"name": name, "type": "tensor", "role": "input",
         "tensor_spec": {"shape": list(shapes[name]), "dtype": dtype, "init": {"kind": "randn"}}}
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


def measure(time_ms: Callable[[dict[str, Any]], float | None]) -> Ceilings | None:
    """Ask `time_ms` for the milliseconds a call of each contract takes. None where not even a copy could be timed."""
    found: dict[str, float] = {}
    for name, contract, amount in contracts():
        took_ms = time_ms(contract)
        if took_ms:
            found[name] = amount / (took_ms / 1e3)
    bytes_per_s = found.pop("copy", None)
    return None if bytes_per_s is None else Ceilings(bytes_per_s=bytes_per_s, operations_per_s=found)


@contextmanager
def bundle(contract: dict[str, Any]) -> Iterator[Path]:
    """A folder with `contract` as a bundle, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="evald-ceiling-") as folder:
        Path(folder, "contract.json").write_text(json.dumps(contract), "utf-8")
        yield Path(folder)


def path_of(device: Device, paths: Paths) -> Path:
    return paths.state / "ceilings" / f"{device.uuid or device.kind}.json"


def kept(path: Path, device: Device, torch: str | None) -> Ceilings | None:
    """The ceilings of `device` that were measured before, if they count for this driver and torch."""
    try:
        found = Kept.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        log.story("the ceilings of a device cannot be read", level=30, file=path, reason=type(error).__name__)
        return None
    counts = (found.device_name, found.driver, found.torch) == (device.name, device.driver, torch)
    return found.ceilings if counts else None


def keep(path: Path, device: Device, torch: str | None, ceilings: Ceilings) -> None:
    """Replace the file. A disk that refuses is logged: they are measured again the next time."""
    known = Kept(device_name=device.name, driver=device.driver, torch=torch, ceilings=ceilings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fsio.write_atomic(path, known.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        log.story("cannot write the ceilings of a device", level=30, file=path, reason=error)
