"""The kinds of value a contract field can hold, each with the sentence it answers to a wrong one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from daemon.contract.dtypes import DTYPES, nearest_dtype
from daemon.contract.expressions import MAX_MAGNITUDE, ExpressionError, parse_expression, reserved_name
from daemon.contract.problems import complaint, nearest, shown

MAX_NAME_BYTES = 200
MAX_RANK = 64

_DECIMAL = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.?[0-9]+)([eE][-+]?[0-9]+)?")
_NON_FINITE = {"inf", "+inf", "-inf", "infinity", "+infinity", "-infinity", "nan"}
_SECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.:]{0,99}")
_CAPABILITY = re.compile(r"[0-9]{1,2}\.[0-9]")
_EXPRESSION_HELP = "a whole number, or an expression over the case's symbols"


class Frozen(BaseModel):
    """A value that crosses room borders: immutable, no unknown keys, infinities written as text in JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


def _not_bool(value: object) -> object:
    if isinstance(value, bool):
        raise complaint(f"must be a number, got {shown(value)}")
    return value


def _whole(value: object) -> object:
    _not_bool(value)
    if isinstance(value, float) and value == value // 1 and abs(value) <= MAX_MAGNITUDE:
        value = int(value)
    if isinstance(value, int) and abs(value) > MAX_MAGNITUDE:
        raise complaint(f"must fit 64 bits, got {shown(value)}")
    return value


def _expression(value: object) -> object:
    """An int, or the text of an expression whose syntax is right."""
    value = _whole(value)
    if isinstance(value, int):
        return value
    if not isinstance(value, str):
        raise complaint(f"must be {_EXPRESSION_HELP}, got {shown(value)}")
    try:
        parse_expression(value)
    except ExpressionError as error:
        raise complaint(error.message, error.suggest) from error
    return value


def _of_a_rank(value: object) -> object:
    """Count the entries before any of them is read: pydantic's own bound does not count entries that are wrong."""
    if isinstance(value, list | tuple) and len(value) > MAX_RANK:
        raise complaint(f"may have at most {MAX_RANK} entries, this has {len(value)}")
    return value


def literal_float(text: str) -> float | None:
    """The float that `text` spells out ("1.5", "-inf"), or None where it is an expression or something else."""
    text = text.strip()
    if text.lower() in _NON_FINITE:
        return float(text)
    fractional = _DECIMAL.fullmatch(text) and not text.lstrip("+-").isdigit()
    return float(text) if fractional and math.isfinite(float(text)) else None


def _number(value: object) -> object:
    """A number, or the text of one, or the text of an expression whose syntax is right."""
    if isinstance(value, str) and (literal := literal_float(value)) is not None:
        return literal
    if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
        if isinstance(value, int) and not -(2**63) <= value < 2**64:
            raise complaint(f"must fit 64 bits, got {shown(value)}")
        return value
    return _expression(value)


def _number_or_bool(value: object) -> object:
    return value if isinstance(value, bool) else _number(value)


def _three(value: object) -> object:
    """`{x, y, z}`, one number, or a list of one to three, as a list of three."""
    if isinstance(value, dict):
        for key in value:
            if key not in ("x", "y", "z"):
                raise complaint(f"{shown(key)} is not a known key here (known: x, y, z)", nearest(str(key), "xyz"))
        value = [value.get(axis, 1) for axis in "xyz"]
    elif isinstance(value, int | float | str):
        value = [value]
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= len("xyz"):
        raise complaint(f"must be one number, a list of one to three, or {{x, y, z}}, got {shown(value)}")
    return [*value, 1, 1][: len("xyz")]


def _named(value: str) -> str:
    if not value.strip() or not value.isprintable():
        raise complaint(f"must be printable text, got {shown(value)}")
    if "/" in value or value.startswith("."):
        raise complaint(f"may not contain '/' or start with '.', got {shown(value)}")
    return _bounded(value)


def _quotable(value: str) -> str:
    """A key that databases can look up: it must fit between the quotes of a path into JSON."""
    if '"' in value or "\\" in value:
        raise complaint(f"may not contain a double quote or a backslash, got {shown(value)}")
    return value


def _bounded(value: str) -> str:
    if not value.isprintable():
        raise complaint(f"must be printable text, got {shown(value)}")
    size = len(value.encode())
    if size > MAX_NAME_BYTES:
        raise complaint(f"may have at most {MAX_NAME_BYTES} characters (bytes of UTF-8), this has {size}")
    return value


def _dtype(value: str) -> str:
    if value not in DTYPES:
        suggestion = nearest_dtype(value)
        known = "" if suggestion else f" (known: {', '.join(DTYPES)})"
        raise complaint(f"{shown(value)} is not a dtype{known}", suggestion)
    return value


def _symbol(value: str) -> str:
    if reason := reserved_name(value):
        raise complaint(f"{shown(value)} cannot be a symbol: {reason}")
    return value


def _sections(value: object) -> object:
    if isinstance(value, bool):
        return value
    if not isinstance(value, list | tuple):
        raise complaint(f"must be true or a list of section names, got {shown(value)}")
    for section in value:
        if not isinstance(section, str) or not _SECTION.fullmatch(section):
            raise complaint(f"{shown(section)} is not a section name (letters, digits, _ . :)")
    return tuple(value)


def _one_gpu(value: int) -> int:
    if value != 1:
        raise complaint(f"must be 1: a job is judged on one GPU, got {shown(value)}")
    return value


def _capability(value: object) -> object:
    if isinstance(value, str) and _CAPABILITY.fullmatch(value):
        return value
    raise complaint(f'must be a text such as "9.0", got {shown(value)}')


def _schema_of(*kinds: str, **more: object) -> WithJsonSchema:
    alternatives: Iterable[dict[str, Any]] = ({"type": kind} for kind in kinds)
    return WithJsonSchema({"anyOf": list(alternatives), **more})


_THREE_SCHEMA: dict[str, Any] = {
    "anyOf": [
        {"type": "integer"},
        {"type": "string"},
        {"type": "array", "items": {"type": ["integer", "string"]}, "minItems": 1, "maxItems": 3},
        {
            "type": "object",
            "properties": {axis: {"type": ["integer", "string"]} for axis in "xyz"},
            "additionalProperties": False,
        },
    ]
}

# Bounds come first in an Annotated, these after them: the other way round the bounds are lost in the JSON Schema.
AS_WHOLE = BeforeValidator(_whole)
AS_NUMBER = BeforeValidator(_not_bool)
OF_A_RANK = BeforeValidator(_of_a_rank)

Whole = Annotated[int, AS_WHOLE]
Tolerance = Annotated[float, Field(ge=0, allow_inf_nan=False), AS_NUMBER]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64), AS_NUMBER]
Extent = Annotated[int | str, BeforeValidator(_expression), _schema_of("integer", "string")]
Number = Annotated[int | float | str, BeforeValidator(_number), _schema_of("number", "string")]
Element = Annotated[
    bool | int | float | str, BeforeValidator(_number_or_bool), _schema_of("number", "string", "boolean")
]
Extents = Annotated[tuple[Extent, Extent, Extent], BeforeValidator(_three), WithJsonSchema(_THREE_SCHEMA)]
DTypeName = Annotated[str, AfterValidator(_dtype), WithJsonSchema({"type": "string", "enum": list(DTYPES)})]
Name = Annotated[str, Field(min_length=1), AfterValidator(_named)]
Label = Annotated[str, AfterValidator(_bounded)]
LabelKey = Annotated[str, AfterValidator(_bounded), AfterValidator(_quotable)]
NonEmptyLabel = Annotated[str, Field(min_length=1), AfterValidator(_bounded)]
Symbol = Annotated[str, AfterValidator(_symbol)]
Sections = Annotated[
    bool | tuple[str, ...],
    BeforeValidator(_sections),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "string"}}]}),
]
OneGpu = Annotated[int, AfterValidator(_one_gpu), AS_WHOLE, WithJsonSchema({"type": "integer", "const": 1})]
Capability = Annotated[str, BeforeValidator(_capability), WithJsonSchema({"type": "string", "pattern": r"^\d+\.\d$"})]
