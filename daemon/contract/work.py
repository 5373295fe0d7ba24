"""What one call of a kernel has to do at least, as its author declares it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field, JsonValue, model_validator

from daemon.contract.fields import Extent, Frozen
from daemon.contract.problems import ProblemLog, complaint, read_model
from daemon.contract.words import Word


class FlopUnit(Word):
    """What does the floating point operations: the kinds whose rate is measured on a device."""

    FLOAT32 = "float32"
    TENSOR_TF32 = "tensor_tf32"
    TENSOR_BF16 = "tensor_bf16"
    TENSOR_FP16 = "tensor_fp16"
    TENSOR_FP64 = "tensor_fp64"

    @classmethod
    def nicknames(cls) -> Mapping[str, tuple[str, ...]]:
        return {
            "float32": ("fp32", "f32", "float"),
            "tensor_tf32": ("tf32",),
            "tensor_bf16": ("bf16", "bfloat16", "tensor_bfloat16"),
            "tensor_fp16": ("fp16", "float16", "half", "tensor_float16"),
            "tensor_fp64": ("fp64", "float64", "double", "tensor_float64"),
        }


def _one_is_required(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"required": [name]} for name in ("bytes", "flops")]


class Work(Frozen):
    """Bytes to move and operations to do. After `bind_case` both are numbers, or None where not declared."""

    model_config = ConfigDict(json_schema_extra=_one_is_required)

    bytes: Extent | None = Field(None, description="bytes that have to be read and written: a number or an expression")
    flops: Extent | None = Field(None, description="floating point operations, a multiply-add is two")
    unit: FlopUnit = Field(FlopUnit.FLOAT32, description="what does the flops: float32, or a kind of tensor cores")

    @model_validator(mode="after")
    def _says_something(self) -> Work:
        if self.bytes is None and self.flops is None:
            raise complaint("declares nothing: give bytes, flops or both")
        return self

    @property
    def expressions(self) -> tuple[str, ...]:
        """Every text that is evaluated when a case is bound."""
        return tuple(value for value in (self.bytes, self.flops) if isinstance(value, str))


def read_work(raw: JsonValue, log: ProblemLog) -> Work | None:
    """The declared work. None where there is none, or where it cannot be read; then the problem is noted."""
    if raw is None:
        return None
    if isinstance(raw, dict):
        raw = {key: value for key, value in raw.items() if value is not None}
    work = read_model(Work, raw, "work", log)
    if work is not None and work.flops is None and "unit" in work.model_fields_set:
        log.caution("work.unit", "means nothing without flops")
    return work
