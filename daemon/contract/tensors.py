"""What a kernel is called with: arguments, tensors and how they are filled, launch.

Symbols may stand for numbers until a case is bound (`bind_case`); the properties that compute sizes need bound ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field, ValidationInfo, WithJsonSchema, field_validator

from daemon.contract.dtypes import DTYPES, DTypeInfo
from daemon.contract.fields import (
    AS_WHOLE,
    MAX_RANK,
    OF_A_RANK,
    DTypeName,
    Element,
    Extent,
    Extents,
    Frozen,
    NonEmptyLabel,
    Number,
    Seed,
    Tolerance,
    literal_float,
)
from daemon.contract.problems import complaint, shown
from daemon.contract.words import Word

MAX_ARGS = 512
_CONSTEXPRS = ("constexpr", "tl.constexpr", "meta")


class ArgType(Word):
    TENSOR = "tensor"
    INT = "int"
    FLOAT = "float"
    STR = "str"
    BOOL = "bool"

    @classmethod
    def nicknames(cls) -> Mapping[str, tuple[str, ...]]:
        return {
            "tensor": ("pointer", "ptr", "array", "ndarray", "buffer", "torch.tensor"),
            "int": ("int32", "int64", "i32", "i64", "integer", "long", "size_t", *_CONSTEXPRS),
            "float": ("float32", "float64", "fp32", "fp64", "f32", "f64", "double", "number"),
            "str": ("string", "text"),
            "bool": ("boolean",),
        }

    @classmethod
    def remarks(cls) -> Mapping[str, str]:
        return dict.fromkeys(_CONSTEXPRS, 'a constexpr has the type of its value, and "is_meta": true')


class Role(Word):
    INPUT = "input"
    OUTPUT = "output"
    INOUT = "inout"

    @classmethod
    def nicknames(cls) -> Mapping[str, tuple[str, ...]]:
        return {
            "input": ("in", "read", "const"),
            "output": ("result", "return", "write", "dst", "destination"),
            "inout": ("in/out", "inplace", "in_place", "in-place", "input_output", "both", "mutable", "readwrite"),
        }


class InitKind(Word):
    RANDN = "randn"
    UNIFORM = "uniform"
    ZEROS = "zeros"
    ONES = "ones"
    FULL = "full"
    ARANGE = "arange"

    @classmethod
    def nicknames(cls) -> Mapping[str, tuple[str, ...]]:
        return {
            "randn": ("normal", "normal_", "gaussian", "gauss", "random", "standard_normal"),
            "uniform": ("rand", "randint", "uniform_", "integers"),
            "zeros": ("zero", "zeros_like", "empty"),
            "ones": ("one", "ones_like"),
            "full": ("constant", "const", "fill", "value", "scalar"),
            "arange": ("range", "iota", "linspace", "sequence"),
        }


class Compression(Word):
    NONE = "none"
    ZLIB = "zlib"

    @classmethod
    def nicknames(cls) -> Mapping[str, tuple[str, ...]]:
        return {"zlib": ("gzip", "zip", "gz", "deflate")}


def numel(shape: Sequence[int]) -> int:
    """How many elements `shape` has; 1 for rank 0."""
    return math.prod(shape)


def tensor_bytes(shape: Sequence[int], dtype: str) -> int:
    """How many bytes a dense tensor takes."""
    return numel(shape) * DTYPES[dtype].itemsize


class InitSpec(Frozen):
    """How a tensor is filled. After `bind_case` every parameter of its `kind` is a number; the others stay None."""

    kind: InitKind = Field(description="randn, uniform, zeros, ones, full or arange")
    seed: Seed | None = Field(None, description="fixed seed; without one a fresh secret seed is drawn for each trial")
    mean: Number | None = Field(None, description="randn: mean (default 0)")
    std: Number | None = Field(None, description="randn: standard deviation (default 1)")
    low: Number | None = Field(None, description="uniform: lower bound (default 0)")
    high: Number | None = Field(
        None, description="uniform: upper bound, inclusive for integers (default 1, integers 100)"
    )
    fill_value: Element | None = Field(None, description='full: the value; "inf", "-inf" and "nan" as text')
    start: Number | None = Field(None, description="arange: first value (default 0)")
    step: Number | None = Field(None, description="arange: distance of two values (default 1)")


class TensorData(Frozen):
    """A tensor's bytes inside the contract: C order, little endian."""

    data_b64: str = Field(description="base64 of the bytes", repr=False)
    dtype: DTypeName | None = Field(None, description="element type; must equal the tensor_spec's")
    shape: Annotated[tuple[Annotated[int, Field(ge=0), AS_WHOLE], ...], Field(max_length=MAX_RANK)] | None = Field(
        None, description="shape; must equal the tensor_spec's"
    )
    compress: Compression = Field(Compression.NONE, description="none or zlib (applied before base64)")


class TensorSpec(Frozen):
    """Shape, element type and content of one tensor."""

    shape: Annotated[tuple[Extent, ...], Field(max_length=MAX_RANK), OF_A_RANK] = Field(
        description="dimensions, numbers or expressions; [] is a scalar tensor, 0 is a legal dimension"
    )
    dtype: DTypeName = Field(description="element type")
    init: InitSpec | None = Field(None, description="how it is filled; not together with data")
    data: TensorData | None = Field(None, description="its bytes; not together with init")
    atol: Tolerance | None = Field(None, description="outputs: absolute tolerance of this output")
    rtol: Tolerance | None = Field(None, description="outputs: relative tolerance of this output")

    @property
    def dims(self) -> tuple[int, ...]:
        """The shape as numbers. Raises ValueError while a symbol stands in it."""
        return _numbers(self.shape)

    @property
    def numel(self) -> int:
        return numel(self.dims)

    @property
    def nbytes(self) -> int:
        return tensor_bytes(self.dims, self.dtype)

    @property
    def info(self) -> DTypeInfo:
        return DTYPES[self.dtype]


def _scalar(value: object) -> object:
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise complaint(f"must be a number, a text, true or false, got {shown(value)}")


class ArgSpec(Frozen):
    """One argument, in call order: a tensor, or a scalar with its value."""

    name: NonEmptyLabel = Field(description="unique within args")
    type: ArgType = Field(description="tensor, int, float, str or bool")
    value: Annotated[
        bool | int | float | str | None, WithJsonSchema({"type": ["number", "string", "boolean", "null"]})
    ] = Field(None, description="scalars: the value; int and float may be an expression")
    tensor_spec: TensorSpec | None = Field(None, description="tensors: shape, dtype and content")
    role: Role = Field(Role.INPUT, description="input, output or inout")
    is_meta: bool = Field(False, strict=True, description="Triton constexpr; still passed in position")

    @field_validator("value", mode="before")
    @classmethod
    def _value_of_its_type(cls, value: Any, info: ValidationInfo) -> Any:
        _scalar(value)
        literal = literal_float(value) if isinstance(value, str) and info.data.get("type") == ArgType.FLOAT else None
        return value if literal is None else literal

    @property
    def is_tensor(self) -> bool:
        return self.type is ArgType.TENSOR

    @property
    def is_input(self) -> bool:
        """Whether its content is given before the call (input or inout)."""
        return self.role is not Role.OUTPUT

    @property
    def is_output(self) -> bool:
        """Whether its content is an answer of the call (output or inout)."""
        return self.role is not Role.INPUT


class LaunchSpec(Frozen):
    """How a GPU kernel is launched. After `bind_case` everything is a number."""

    grid: Extents = Field((1, 1, 1), description="blocks: a number, a list, or {x, y, z}", validate_default=False)
    block: Extents = Field((256, 1, 1), description="threads of a block (cuda)", validate_default=False)
    num_warps: Extent | None = Field(None, description="warps of a program (triton)")
    num_stages: Extent | None = Field(None, description="software pipeline stages (triton)")
    shared_mem: Extent = Field(0, description="dynamic shared memory in bytes (cuda)")
    cluster: Extents | None = Field(None, description="blocks of a cluster: a number, a list, or {x, y, z}")
    cooperative: bool = Field(False, strict=True, description="cooperative launch (cuda)")


class IOContract(Frozen):
    """The arguments in call order, and the launch where there is one."""

    args: Annotated[tuple[ArgSpec, ...], Field(max_length=MAX_ARGS)] = Field(description="arguments in call order")
    launch: LaunchSpec | None = Field(None, description="grid 1 and block 256 when absent")

    @property
    def inputs(self) -> tuple[ArgSpec, ...]:
        """Everything but the pure outputs, in call order; scalars count as inputs."""
        return tuple(arg for arg in self.args if arg.is_input)

    @property
    def outputs(self) -> tuple[ArgSpec, ...]:
        """The output and inout tensors, in call order."""
        return tuple(arg for arg in self.args if arg.is_tensor and arg.is_output)


def _numbers(values: Sequence[int | str]) -> tuple[int, ...]:
    numbers = tuple(value for value in values if isinstance(value, int))
    if len(numbers) < len(values):
        raise ValueError(f"bind a case first: {list(values)} still holds symbols")
    return numbers
