"""From the contract's arguments to the bytes of a kernel's parameter buffer.

A scalar gets the C type the kernel declares: a `float` is packed as four bytes whatever Python calls a float.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from typing import Any

from daemon.executor.backends._cuda_probe import Parameter
from daemon.executor.source import KernelFault

_INTEGERS = {
    "char": "b",
    "signed char": "b",
    "unsigned char": "B",
    "short": "h",
    "unsigned short": "H",
    "int": "i",
    "unsigned int": "I",
    "long": "q",
    "unsigned long": "Q",
    "long long": "q",
    "unsigned long long": "Q",
}
_INTEGER_OF_SIZE = {1: "b", 2: "h", 4: "i", 8: "q"}
_ELEMENT_BYTES = {
    **{name: struct.calcsize(code) for name, code in _INTEGERS.items()},
    **{"float": 4, "double": 8, "__half": 2, "__nv_bfloat16": 2, "bool": 1},
}
_DTYPE_BYTES = {"float64": 8, "int64": 8, "uint64": 8, "float32": 4, "int32": 4, "uint32": 4, "bool": 1}
_DTYPE_BYTES |= {"float16": 2, "bfloat16": 2, "int16": 2, "uint16": 2, "int8": 1, "uint8": 1}

Converter = Callable[[Any], Any]


class Packer:
    """Packs one call's arguments. `parameters` and the contract's `args` must match, else `KernelFault`."""

    def __init__(self, kernel: str, parameters: Sequence[Parameter], args: Sequence[dict[str, Any]]) -> None:
        if len(parameters) != len(args):
            raise KernelFault(
                "compile_error",
                f"the contract gives {len(args)} arguments ({', '.join(str(arg['name']) for arg in args)}), but the "
                f"kernel {kernel} takes {len(parameters)} ({', '.join(item.type for item in parameters)})",
            )
        self._names = [f"{arg['name']} ({item.type})" for arg, item in zip(args, parameters, strict=True)]
        coded = [_code(arg, item) for arg, item in zip(args, parameters, strict=True)]
        self._format = struct.Struct("@" + "".join(code for code, _ in coded))
        self._codes = [code for code, _ in coded]
        self._converters = [converter for _, converter in coded]
        self.notes = [note for arg, item in zip(args, parameters, strict=True) if (note := _doubt(arg, item))]

    @property
    def size_bytes(self) -> int:
        return self._format.size

    def pack(self, args: Sequence[Any]) -> bytes:
        """The parameter buffer of a call. Raises `KernelFault` that names the argument that does not fit."""
        try:
            return self._format.pack(*[convert(arg) for convert, arg in zip(self._converters, args, strict=True)])
        except (struct.error, OverflowError, TypeError, ValueError) as error:
            raise self._misfit(args) from error

    def _misfit(self, args: Sequence[Any]) -> KernelFault:
        for name, code, convert, arg in zip(self._names, self._codes, self._converters, args, strict=False):
            try:
                struct.pack(code, convert(arg))
            except (struct.error, OverflowError, TypeError, ValueError) as error:
                return KernelFault("runtime_error", f"argument {name} cannot be {arg!r:.200}: {error}")
        return KernelFault("runtime_error", f"{len(args)} arguments were given, {len(self._names)} are needed")


def _code(arg: dict[str, Any], parameter: Parameter) -> tuple[str, Converter]:
    """The `struct` code of a parameter and what turns an argument into its value."""
    is_tensor = arg.get("type", "tensor") == "tensor"
    if parameter.is_pointer != is_tensor or arg.get("type") == "str":
        given = "a tensor" if is_tensor else f"a scalar of type {arg['type']}"
        raise KernelFault(
            "compile_error", f"argument {arg['name']!r} is {given}, but the kernel's parameter is {parameter.type}"
        )
    if is_tensor:
        return "P", _address
    known: dict[str, tuple[str, Converter]] = {
        "float": ("f", float),
        "double": ("d", float),
        "__half": ("H", half_bits),
        "__nv_bfloat16": ("H", bfloat16_bits),
        "bool": ("?", bool),
        **{name: (code, int) for name, code in _INTEGERS.items()},
    }
    return known.get(parameter.type) or _by_size(arg, parameter)


def _by_size(arg: dict[str, Any], parameter: Parameter) -> tuple[str, Converter]:
    """For a type of the user's own, mostly an enum: the contract says what it is, the compiler how large."""
    if arg["type"] == "float" and parameter.size_bytes in (4, 8):
        return {4: "f", 8: "d"}[parameter.size_bytes], float
    if arg["type"] in ("int", "bool") and parameter.size_bytes in _INTEGER_OF_SIZE:
        return _INTEGER_OF_SIZE[parameter.size_bytes], int
    raise KernelFault(
        "compile_error",
        f"argument {arg['name']!r}: a parameter of type {parameter.type} ({parameter.size_bytes} bytes) cannot be made "
        f"from a scalar of type {arg['type']}; pass its parts, or a pointer",
    )


def _address(tensor: Any) -> int:
    return 0 if tensor is None else int(tensor.data_ptr())


def half_bits(value: Any) -> int:
    """`value` as IEEE 754 binary16, rounded to nearest even; too large becomes infinity."""
    try:
        (bits,) = struct.unpack("<H", struct.pack("<e", float(value)))
    except OverflowError:
        return 0x7C00 if value > 0 else 0xFC00
    return int(bits)


def bfloat16_bits(value: Any) -> int:
    """`value` as bfloat16, the upper half of a binary32, rounded to nearest even."""
    if math.isnan(value):
        return 0x7FC0
    (bits,) = struct.unpack("<I", struct.pack("<f", float(value)))
    return int((bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


def _doubt(arg: dict[str, Any], parameter: Parameter) -> str | None:
    """A note where a tensor's elements and the pointer's are of different sizes, both plain numbers."""
    element = parameter.type.removesuffix("*").removesuffix(" const").strip()
    own, declared = _DTYPE_BYTES.get(str(arg.get("dtype"))), _ELEMENT_BYTES.get(element)
    if own is None or declared is None or declared in (own, 1):
        return None
    return f"{arg['name']} is a {arg['dtype']} tensor, the kernel's parameter is {parameter.type}"
