"""CUDA's libdevice where Triton's interpreter runs a kernel: torch and numpy compute what its functions do.

Theory of operation: a call of `libdevice.tanh(x)` is looked up by Triton itself among the dtypes that CUDA's function
has, and comes out as a symbol, `__nv_tanhf` say. A GPU has the symbols; the interpreter has none. The names in
`triton.language.extra.libdevice` are mere stubs, for which Triton's compiler puts in those of the GPU; here that is
done for the interpreter.

Where a GPU only approximates (`fast_expf`), the exact value is taken. Functions that round down, up or towards zero,
and some rare ones, are not there.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def _ffs(x: Tensor) -> Tensor:
    """The number of the lowest bit that is set, from 1; 0 where none is."""
    lowest = (x.long() & -x.long()).double().abs()
    return torch.where(x == 0, 0, torch.log2(lowest) + 1)


def _round(x: Tensor) -> Tensor:
    """To the nearest, halves away from zero."""
    whole = torch.trunc(x)
    return whole + torch.sign(x) * (2 * (x - whole).abs() >= 1)


def _gamma(x: float) -> float:
    try:
        return math.gamma(x)
    except OverflowError:
        return math.inf
    except ValueError:  # 0, -1, -2, …
        return math.copysign(math.inf, x) if x == 0 else math.nan


_SAME_IN_TORCH = (
    *("abs", "acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "copysign", "cos", "cosh", "erf"),
    *("erfc", "erfinv", "exp", "exp2", "expm1", "floor", "fmod", "hypot", "isfinite", "isinf", "isnan", "ldexp"),
    *("lgamma", "log", "log10", "log1p", "log2", "nextafter", "pow", "rsqrt", "signbit", "sin", "sinh", "sqrt", "tan"),
    *("tanh", "trunc"),
)
_OTHERS: dict[str, Callable[..., Tensor]] = {
    "cbrt": lambda x: torch.from_numpy(np.cbrt(x.numpy())),
    "cospi": lambda x: torch.cos(x.double() * torch.pi),
    "cyl_bessel_i0": torch.special.i0,
    "cyl_bessel_i1": torch.special.i1,
    "erfcinv": lambda x: torch.erfinv(1 - x.double()),
    "erfcx": torch.special.erfcx,
    "exp10": lambda x: torch.pow(10.0, x.double()),
    "fabs": torch.abs,
    "fdim": lambda x, y: (x - y).clamp(min=0),
    "fdivide": torch.div,
    "ffs": _ffs,
    "finite": torch.isfinite,
    "float_as_int": lambda x: x.view(torch.int32),
    "float_as_uint": lambda x: x.view(torch.uint32),
    "double_as_longlong": lambda x: x.view(torch.int64),
    "int_as_float": lambda x: x.view(torch.float32),
    "uint_as_float": lambda x: x.view(torch.float32),
    "longlong_as_double": lambda x: x.view(torch.float64),
    "j0": torch.special.bessel_j0,
    "j1": torch.special.bessel_j1,
    "llabs": torch.abs,
    "llrint": torch.round,
    "llround": _round,
    "mulhi": lambda x, y: (x.long() * y.long()) >> 32,
    "nearbyint": torch.round,
    "normcdf": lambda x: torch.special.ndtr(x.double()),
    "normcdfinv": lambda x: torch.special.ndtri(x.double()),
    "popc": lambda x: torch.from_numpy(np.bitwise_count(x.numpy().view(f"uint{8 * x.itemsize}"))),
    "powi": torch.pow,
    "rcbrt": lambda x: 1 / torch.from_numpy(np.cbrt(x.numpy())),
    "rhypot": lambda x, y: 1 / torch.hypot(x, y),
    "rint": torch.round,
    "round": _round,
    "saturate": lambda x: x.clamp(0, 1).nan_to_num(0),
    "scalbn": torch.ldexp,
    "sinpi": lambda x: torch.sin(x.double() * torch.pi),
    "tgamma": lambda x: torch.from_numpy(np.vectorize(_gamma, [np.float64])(x.numpy())),
    "y0": torch.special.bessel_y0,
    "y1": torch.special.bessel_y1,
    "add_rn": torch.add,
    "sub_rn": torch.sub,
    "mul_rn": torch.mul,
    "div_rn": torch.div,
    "rcp_rn": torch.reciprocal,
    "sqrt_rn": torch.sqrt,
    "rsqrt_rn": torch.rsqrt,
    "fma": lambda x, y, z: x.double() * y.double() + z.double(),
}
_ROUNDED = {"rn": torch.round, "rz": torch.trunc, "rd": torch.floor, "ru": torch.ceil}
_TO_INTEGER = re.compile(r"(?:float|double)2(?:u?int|u?ll)_(r[nzud])")
_EXACT = re.compile(r"u?(?:int|ll)2(?:float|double)_rn|(?:float2double|double2float)_rn")
# Of float32 or, `d`, of float64; which of them it is, the tensors say.
_OF_A_FLOAT = re.compile(r"fast_(\w+?)f|[fd]((?:add|sub|mul|div|rcp|sqrt|rsqrt)_rn)|(fma)f?_rn")


def repair(namespaces: Iterable[dict[str, Any]]) -> None:
    """Have the interpreter compute libdevice's functions, also by the names under which modules whose names these are
    have imported them. Idempotent."""
    from triton.language import core
    from triton.language.extra import libdevice as stubs
    from triton.language.extra.cuda import libdevice
    from triton.runtime import interpreter

    interpreter.InterpreterBuilder.create_extern_elementwise = _create
    known: dict[Any, Any] = {}
    for name, function in list(vars(libdevice).items()):
        if core.is_builtin(function):
            known[function] = functools.partial(function, _semantic=interpreter.interpreter_semantic)
            known[getattr(stubs, name, function)] = known[function]
    for names in [vars(stubs), vars(libdevice), *namespaces]:
        found = {name: known[value] for name, value in names.items() if _is_function(value) and value in known}
        names.update(found)


def _is_function(value: object) -> bool:
    return type(value) is type(_is_function)


def _create(_self: Any, _lib: str, _path: str, symbol: str, arguments: list[Any], returned: Any, _pure: bool) -> Any:
    """Triton's `create_extern_elementwise`. Raises `NotImplementedError` for a function that is not here."""
    from triton.runtime import interpreter

    name = symbol.removeprefix("__nv_")
    if (function := function_of(name)) is None:
        raise NotImplementedError(f"libdevice's {name} is not there where Triton's interpreter stands in for a GPU")
    dtype = interpreter._get_np_dtype(returned.scalar)
    tensors = [torch.from_numpy(np.ascontiguousarray(one.data)) for one in arguments]
    found = function(*tensors).numpy().reshape(arguments[0].data.shape)
    return interpreter.TensorHandle(found.astype(dtype), returned.scalar)


def function_of(name: str) -> Callable[..., Tensor] | None:
    """What computes CUDA's function of this name (`tanhf`), of tensors on a CPU; None for one that is not here."""
    if to_integer := _TO_INTEGER.fullmatch(name):
        return _ROUNDED[to_integer[1]]
    if _EXACT.fullmatch(name):
        return torch.Tensor.clone
    if of_a_float := _OF_A_FLOAT.fullmatch(name):
        name = next(filter(None, of_a_float.groups()))
    for plain in (name, name.removesuffix("f"), name.removesuffix("d"), name.removesuffix("ll")):
        if plain in _SAME_IN_TORCH or plain in _OTHERS:
            return _OTHERS.get(plain) or getattr(torch, plain)
    return None
