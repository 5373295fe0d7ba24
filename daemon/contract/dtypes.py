"""The element types a tensor may have: size, range, default tolerance, and the name that was probably meant."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from daemon.contract.problems import nearest


class Category(StrEnum):
    """What arithmetic an element type has."""

    FLOAT = "float"
    INT = "int"
    BOOL = "bool"
    COMPLEX = "complex"


@dataclass(frozen=True)
class DTypeInfo:
    """One element type. `low` to `high` is the finite range (of the real part for complex), `itemsize` in bytes."""

    name: str
    itemsize: int
    category: Category
    low: float
    high: float
    tolerance: float = 0.0
    has_infinity: bool = False

    @property
    def exact(self) -> bool:
        """Whether two values of this type are compared bit by bit unless the contract says otherwise."""
        return self.category in (Category.INT, Category.BOOL)


def _floating(name: str, itemsize: int, high: float, tolerance: float, *, has_infinity: bool = True) -> DTypeInfo:
    category = Category.COMPLEX if name.startswith("complex") else Category.FLOAT
    return DTypeInfo(name, itemsize, category, -high, high, tolerance, has_infinity)


def _signed(bits: int) -> DTypeInfo:
    return DTypeInfo(f"int{bits}", bits // 8, Category.INT, -(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _unsigned(bits: int) -> DTypeInfo:
    return DTypeInfo(f"uint{bits}", bits // 8, Category.INT, 0, 2**bits - 1)


_FLOAT32_MAX = (2 - 2**-23) * 2.0**127

DTYPES: Mapping[str, DTypeInfo] = MappingProxyType(
    {
        info.name: info
        for info in (
            _floating("float64", 8, (2 - 2**-52) * 2.0**1023, 1e-10),
            _floating("float32", 4, _FLOAT32_MAX, 1e-4),
            _floating("float16", 2, 65504.0, 1e-2),
            _floating("bfloat16", 2, (2 - 2**-7) * 2.0**127, 1e-2),
            # A step of the format and a little more: two honest roundings may be one apart.
            _floating("float8_e4m3fn", 1, 448.0, 0.13, has_infinity=False),
            _floating("float8_e5m2", 1, 57344.0, 0.26),
            *(_signed(bits) for bits in (64, 32, 16, 8)),
            *(_unsigned(bits) for bits in (8, 16, 32, 64)),
            DTypeInfo("bool", 1, Category.BOOL, 0, 1),
            _floating("complex64", 8, _FLOAT32_MAX, 1e-4),
        )
    }
)

# What a module may answer in, although no contract can declare it.
_AS_EXACT_AS = {"complex128": "float64"}

# Never accepted, only understood well enough to say what to write instead.
_MEANT = {
    "float64": ("fp64", "f64", "double"),
    "float32": ("fp32", "f32", "float", "single", "tf32"),
    "float16": ("fp16", "f16", "half"),
    "bfloat16": ("bf16", "bfloat"),
    "float8_e4m3fn": ("fp8", "float8", "e4m3", "fp8_e4m3", "float8_e4m3", "fp8e4nv", "e4m3fn", "fp8_e4m3fn", "fp8e4m3"),
    "float8_e5m2": ("e5m2", "fp8_e5m2", "fp8e5", "fp8e5m2"),
    "int64": ("i64", "long", "s64"),
    "int32": ("i32", "int", "s32", "integer"),
    "int16": ("i16", "short", "s16"),
    "int8": ("i8", "char", "s8", "int4", "i4"),
    "uint8": ("u8", "byte", "uchar", "uint4", "u4"),
    "uint16": ("u16", "ushort"),
    "uint32": ("u32", "uint"),
    "uint64": ("u64", "ulong"),
    "bool": ("boolean", "i1", "bool_"),
    "complex64": ("cfloat", "complex", "c64", "complex32", "chalf", "complex128", "cdouble", "c128"),
}
_BY_NICKNAME = {nickname: name for name, nicknames in _MEANT.items() for nickname in nicknames}


def nearest_dtype(name: str) -> str | None:
    """The dtype that `name` probably meant ("fp32" -> "float32"), or None."""
    short = name.strip().lower().rpartition(".")[2]
    return short if short in DTYPES else _BY_NICKNAME.get(short) or nearest(short, DTYPES)


def default_tolerance(dtype: str) -> tuple[float, float]:
    """`(atol, rtol)` used for outputs of `dtype` when the contract gives none. Raises KeyError for an unknown dtype."""
    tolerance = DTYPES[_AS_EXACT_AS.get(dtype, dtype)].tolerance
    return tolerance, tolerance


def unrepresentable(info: DTypeInfo, value: float) -> str | None:
    """Why `value` cannot be an element of `info` (rounding a fraction to a float type is fine), or None if it can."""
    if isinstance(value, bool) and info.category is not Category.BOOL:
        return f"true and false are no {info.name} values"
    if math.isnan(value) or math.isinf(value):
        possible = not info.exact and (math.isnan(value) or info.has_infinity)
        return None if possible else f"{info.name} has no {'NaN' if math.isnan(value) else 'infinity'}"
    if info.exact and value != int(value):
        return f"{value} is not a whole number, and the dtype is {info.name}"
    if not info.low <= value <= info.high:
        return f"{value} does not fit {info.name} ({info.low:g} to {info.high:g})"
    return None


def as_element(info: DTypeInfo, value: float) -> bool | int | float:
    """`value`, already known to be representable, as the Python type of `info`'s category."""
    if info.category is Category.BOOL:
        return bool(value)
    return int(value) if info.category is Category.INT else float(value)
