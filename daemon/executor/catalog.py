"""The kernel types there are, read from the backend files without importing them: the trusted side never runs a
backend.

Each backend file holds `SPEC = {...}`, a literal. Its file name is the type's name.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.contract import KernelTypeSpec
from daemon.errors import OperatorError

_BUILT_IN = Path(__file__).parent / "backends"
_KNOWN = frozenset(
    {
        "io_required",
        "metadata_keys",
        "metadata_required",
        "metadata_aliases",
        "lacks_dtypes",
        "python",
        "build",
        "precompiled_header",
        "answers",
        "devices",
    }
)


@dataclass(frozen=True)
class BackendSpec:
    """One kernel type. `answers`: "args" (outputs are arguments), "either" (a return value, else output arguments).

    `build`: the devices it has a build stage for, which `precompiled_header` helps where it compiles extensions of
    torch; `devices`: those it can run on.
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


def _read(path: Path) -> BackendSpec:
    literal = _literal(path)
    if unknown := set(literal) - _KNOWN:
        raise OperatorError(f"{path}: SPEC has unknown keys: {', '.join(sorted(unknown))}")
    contract = KernelTypeSpec(
        name=path.stem,
        io_required=bool(literal.get("io_required", True)),
        metadata_keys=tuple(literal.get("metadata_keys", ())),
        metadata_required=tuple(literal.get("metadata_required", ())),
        metadata_aliases=dict(literal.get("metadata_aliases", {})),
        is_python=bool(literal.get("python", True)),
        writes_outputs=literal.get("answers") == "args",
        lacks_dtypes=tuple(literal.get("lacks_dtypes", ())),
    )
    devices = tuple(literal.get("devices", ("cpu",)))
    return BackendSpec(
        contract,
        build=devices if literal.get("build") is True else tuple(literal.get("build") or ()),
        answers=str(literal.get("answers", "either")),
        devices=devices,
        precompiled_header=literal.get("precompiled_header") is True,
    )


def _literal(path: Path) -> dict[str, Any]:
    for node in ast.parse(path.read_text("utf-8"), str(path)).body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "SPEC" for t in node.targets):
            try:
                value = ast.literal_eval(node.value)
            except ValueError as error:
                raise OperatorError(f"{path}:{node.lineno}: SPEC is not a literal") from error
            if isinstance(value, dict):
                return value
    raise OperatorError(f"{path}: a backend file must define SPEC, a literal dict")
