"""The kernel types there are, read from the backend files without importing them: the trusted side never runs a
backend.

Each backend file holds `SPEC = {...}`, a literal. Its file name is the type's name.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, ValidationError

from daemon.contract import DTYPES, KernelTypeSpec
from daemon.errors import OperatorError

_BUILT_IN = Path(__file__).parent / "backends"


def _is_known(dtype: str) -> str:
    if dtype not in DTYPES:
        raise ValueError(f"no such dtype; there are {', '.join(DTYPES)}")
    return dtype


_Device = Literal["cpu", "cuda"]
_DType = Annotated[str, AfterValidator(_is_known)]


class _Spec(BaseModel):
    """SPEC as a backend file has it; docs/how-to/add-a-kernel-type.md says what each key means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    io_required: StrictBool = True
    metadata_keys: tuple[str, ...] = ()
    metadata_required: tuple[str, ...] = ()
    metadata_aliases: dict[str, str] = {}
    lacks_dtypes: tuple[_DType, ...] = ()
    python: StrictBool = True
    build: StrictBool | tuple[_Device, ...] = ()
    precompiled_header: StrictBool = False
    answers: Literal["args", "either"] = "either"
    devices: Annotated[tuple[_Device, ...], Field(min_length=1)] = ("cpu",)


@dataclass(frozen=True)
class BackendSpec:
    """One kernel type.

    - `answers`: "args" (outputs are arguments) or "either" (a return value, else output arguments)
    - `build`: the devices for which it has a build stage
    - `precompiled_header`: whether the build stage compiles extensions of torch, which such a header helps
    - `devices`: those it can run on
    """

    contract: KernelTypeSpec
    build: tuple[str, ...]
    answers: str
    devices: tuple[str, ...]
    precompiled_header: bool = False


def load(extra_folders: Sequence[Path] = ()) -> dict[str, BackendSpec]:
    """Every kernel type by name; a file in `extra_folders` (setting `backend_paths`) adds one or stands before ours.

    Raises `OperatorError` for a file whose SPEC is missing or malformed.
    """
    found: dict[str, BackendSpec] = {}
    for folder in (_BUILT_IN, *extra_folders):
        if not folder.is_dir():
            raise OperatorError(f"no folder {folder} for extra backends", hint="check the setting backend_paths")
        for path in sorted(folder.glob("*.py")):
            if not path.stem.startswith("_"):
                found[path.stem] = _read(path)
    return found


def contract_types(backends: Mapping[str, BackendSpec]) -> dict[str, KernelTypeSpec]:
    """What the contract parser needs of them."""
    return {name: spec.contract for name, spec in backends.items()}


_ELSEWHERE = (
    "evald's own in daemon/executor/backends show how; what is no kernel type is to lie outside of backend_paths"
)


def _read(path: Path) -> BackendSpec:
    try:
        spec = _Spec.model_validate(_literal(path))
    except ValidationError as error:
        told = "\n".join([f"{path}: SPEC is wrong", *map(_in_words, error.errors())])
        raise OperatorError(told, hint=_ELSEWHERE) from error
    contract = KernelTypeSpec(
        name=path.stem,
        io_required=spec.io_required,
        metadata_keys=spec.metadata_keys,
        metadata_required=spec.metadata_required,
        metadata_aliases=spec.metadata_aliases,
        is_python=spec.python,
        writes_outputs=spec.answers == "args",
        lacks_dtypes=spec.lacks_dtypes,
    )
    return BackendSpec(
        contract,
        build=spec.devices if spec.build is True else spec.build or (),
        answers=spec.answers,
        devices=spec.devices,
        precompiled_header=spec.precompiled_header,
    )


def _in_words(error: Any) -> str:
    """One of pydantic's errors."""
    key = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such key; there are {', '.join(_Spec.model_fields)}"
    return f"{key}: {error['msg']} (got {error['input']!r})"


def _literal(path: Path) -> dict[str, Any]:
    try:
        module = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        raise OperatorError(f"{path} is no Python: {error}", hint=_ELSEWHERE) from error
    for node in module.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "SPEC" for t in node.targets):
            try:
                value = ast.literal_eval(node.value)
            except ValueError as error:
                text = f"{path}:{node.lineno}: SPEC is not a literal, a dict of plain values"
                raise OperatorError(text, hint=_ELSEWHERE) from error
            if isinstance(value, dict):
                return value
    raise OperatorError(f"{path}: a backend file must define SPEC, a literal dict", hint=_ELSEWHERE)
