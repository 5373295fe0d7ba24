"""Keys that are not known where they stand: which key was meant, under another name or further inside."""

from __future__ import annotations

from collections.abc import Iterable
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

# What people write instead. A name counts only where the key it stands for is known.
_NICKNAMES = {
    "ref_kernel": ("reference", "ref", "baseline", "reference_kernel"),
    "custom_kernel": ("candidate", "custom", "solution", "submission", "candidate_kernel"),
    "num_trials": ("trials", "iterations", "iters", "repeat", "repeats", "runs", "num_runs"),
    "atol": ("tolerance", "tol", "abs_tol", "absolute_tolerance"),
    "rtol": ("rel_tol", "relative_tolerance"),
    "timeout": ("timeout_s", "time_limit", "max_time"),
    "source_code": ("code", "source", "src", "text", "kernel_code", "kernel_source"),
    "source_file": ("file", "path", "filename", "source_path"),
    "kernel_type": ("language", "lang", "type", "kind"),
    "args": ("inputs", "arguments", "params", "parameters", "tensors"),
    "is_meta": ("constexpr", "is_constexpr", "meta"),
    "value": ("val", "default"),
    "kind": ("type", "method", "distribution"),
    "mean": ("mu", "loc"),
    "std": ("sigma", "stddev", "scale"),
    "low": ("min", "minimum"),
    "high": ("max", "maximum"),
    "fill_value": ("value", "fill", "constant"),
    "data_b64": ("data", "base64", "b64", "bytes"),
    "grid": ("blocks", "grid_size", "grid_dim", "griddim"),
    "block": ("threads", "block_size", "block_dim", "blockdim"),
    "num_warps": ("warps",),
    "num_stages": ("stages",),
    "shared_mem": ("smem", "shared_memory", "dynamic_shared_memory"),
    "max_s": ("max_seconds", "seconds", "max_time", "time_limit", "duration", "budget_s", "timeout"),
    "target_rse": ("rse", "target_error", "rel_error", "relative_error"),
    "gpu": ("gpu_name", "gpu_type", "gpu_model", "device"),
    "min_capability": ("capability", "compute_capability", "min_compute_capability", "arch", "sm"),
    "min_memory_gib": ("memory", "min_memory", "memory_gib", "memory_gb", "min_memory_gb", "vram"),
    "bind": ("symbols", "bindings", "sizes", "values", "params"),
}
_OF_METADATA = (
    "function_name", "class_name", "method_name", "kernel_name", "entry_point", "compiler_options", "compile_options",
    "backend", "name_expressions",
)  # fmt: skip


def nickname_of(written: str, known: Iterable[str]) -> str | None:
    """The known key that goes by this name elsewhere, or None."""
    return next((key for key in known if written.lower() in _NICKNAMES.get(key, ())), None)


def further_inside(key: str, model: type[BaseModel]) -> str | None:
    """Where below an object of this kind the key is known, `launch.grid`, or None. Not inside of lists."""
    if "metadata" in model.model_fields and key in _OF_METADATA:
        return f"metadata.{key}"
    for name, field in model.model_fields.items():
        if (inner := _object_in(field.annotation)) is None:
            continue
        if key in inner.model_fields:
            return f"{name}.{key}"
        if (found := further_inside(key, inner)) is not None:
            return f"{name}.{found}"
    return None


def symbol_inside(key: str, value: object, model: type[BaseModel] | None) -> str | None:
    """Where in an object of this kind a name with a whole number belongs, if it has a field for such: `bind.N`."""
    if model is None or type(value) is not int:
        return None
    fields = model.model_fields.items()
    return next((f"{name}.{key}" for name, field in fields if _is_of_numbers(field.annotation)), None)


def _is_of_numbers(annotation: Any) -> bool:
    """Whether a field is an object of names and whole numbers."""
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) is not dict:
        return False
    _, value = get_args(annotation)
    return value is int or (get_origin(value) is Annotated and get_args(value)[0] is int)


def _object_in(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, itself or None in its place."""
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation if issubclass(annotation, BaseModel) else None
    if get_origin(annotation) in (Annotated, Union, UnionType):
        found = (_object_in(argument) for argument in get_args(annotation))
        return next((model for model in found if model is not None), None)
    return None
