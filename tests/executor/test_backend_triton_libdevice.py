"""What stands in for CUDA's libdevice where Triton's interpreter runs a kernel, against Python's and numpy's own."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable

import numpy as np
import pytest
import torch

from daemon.executor.backends._triton_libdevice import function_of

NORMAL = statistics.NormalDist()
BITS = np.float32(1.5).view(np.int32).item()
AS_IN_PYTHON = (
    *("acos", "asin", "asinh", "atan", "atanh", "cbrt", "cos", "cosh", "erf", "erfc", "exp", "exp2", "expm1", "lgamma"),
    *("log", "log10", "log1p", "log2", "sin", "sinh", "sqrt", "tan", "tanh"),
)
# CUDA's name of the function of float64, arguments, and what it answers.
ANSWERS: list[tuple[str, tuple[float, ...], float]] = [
    *((name, (0.3,), getattr(math, name)(0.3)) for name in AS_IN_PYTHON),
    ("acosh", (1.3,), math.acosh(1.3)),
    ("ceil", (-1.5,), -1),
    ("floor", (-1.5,), -2),
    ("trunc", (-1.5,), -1),
    ("rint", (2.5,), 2),
    ("nearbyint", (-3.5,), -4),
    ("round", (2.5,), 3),
    ("round", (-2.5,), -3),
    ("round", (0.49999999999999994,), 0),
    ("llround", (-0.5,), -1),
    ("llrint", (0.5,), 0),
    ("fabs", (-2.0,), 2),
    ("rsqrt", (4.0,), 0.5),
    ("rcbrt", (8.0,), 0.5),
    ("exp10", (2.0,), 100),
    ("sinpi", (0.5,), 1),
    ("cospi", (1.0,), -1),
    ("erfinv", (math.erf(0.4),), 0.4),
    ("erfcinv", (math.erfc(0.4),), 0.4),
    ("erfcx", (0.5,), math.exp(0.25) * math.erfc(0.5)),
    ("normcdf", (0.7,), NORMAL.cdf(0.7)),
    ("normcdfinv", (0.7,), NORMAL.inv_cdf(0.7)),
    ("tgamma", (4.5,), math.gamma(4.5)),
    ("tgamma", (1e3,), math.inf),
    ("tgamma", (-0.0,), -math.inf),
    ("tgamma", (-1.0,), math.nan),
    ("j0", (1.0,), 0.7651976865579666),
    ("j1", (1.0,), 0.44005058574493355),
    ("y0", (1.0,), 0.08825696421567697),
    ("y1", (1.0,), -0.7812128213002887),
    ("cyl_bessel_i0", (1.0,), 1.2660658777520082),
    ("cyl_bessel_i1", (1.0,), 0.5651591039924851),
    ("atan2", (1.0, -2.0), math.atan2(1, -2)),
    ("copysign", (3.0, -0.0), -3),
    ("fmod", (-7.0, 3.0), -1),
    ("hypot", (3.0, 4.0), 5),
    ("rhypot", (3.0, 4.0), 0.2),
    ("pow", (2.0, -1.5), 2**-1.5),
    ("powi", (3.0, -2), 1 / 9),
    ("ldexp", (3.0, 4), 48),
    ("scalbn", (3.0, -1), 1.5),
    ("nextafter", (1.0, 2.0), math.nextafter(1, 2)),
    ("fdim", (3.0, 1.0), 2),
    ("fdim", (1.0, 3.0), 0),
    ("fma", (2.0, 3.0, 4.0), 10),
    ("isnand", (math.nan,), 1),
    ("isinfd", (-math.inf,), 1),
    ("isfinited", (math.inf,), 0),
    ("signbitd", (-0.0,), 1),
    *((f"d{name}_rn", (6.0, 1.5), answer) for name, answer in {"add": 7.5, "sub": 4.5, "mul": 9.0, "div": 4.0}.items()),
    ("drcp_rn", (4.0,), 0.25),
    ("dsqrt_rn", (4.0,), 2),
    ("double2int_rn", (2.5,), 2),
    ("double2int_rz", (-2.5,), -2),
    ("double2ll_rd", (-2.5,), -3),
    ("double2uint_ru", (2.5,), 3),
    ("double2float_rn", (0.1,), 0.1),
]
FAST = {"fast_expf": (0.3, math.exp(0.3)), "fast_sinf": (0.3, math.sin(0.3)), "fast_log2f": (8.0, 3.0)}
WHOLE: list[tuple[str, tuple[object, ...], object]] = [
    ("abs", (np.int32(-5),), 5),
    ("llabs", (np.int64(-5),), 5),
    ("popc", (np.int32(-1),), 32),
    ("popcll", (np.int64(-1),), 64),
    ("ffs", (np.int32(0),), 0),
    ("ffs", (np.int32(12),), 3),
    ("ffs", (np.int32(-(2**31)),), 32),
    ("ffsll", (np.int64(-(2**63)),), 64),
    ("mulhi", (np.int32(2**20), np.int32(-(2**20))), -(2**8)),
    ("int2float_rn", (np.int32(7),), 7),
    ("ull2double_rn", (np.uint64(7),), 7),
    ("float_as_int", (np.float32(1.5),), BITS),
    ("float_as_uint", (np.float32(1.5),), BITS),
    ("int_as_float", (np.int32(BITS),), 1.5),
    ("uint_as_float", (np.uint32(BITS),), 1.5),
    ("longlong_as_double", (np.float64(1.5).view(np.int64),), 1.5),
    ("double_as_longlong", (np.float64(1.5),), np.float64(1.5).view(np.int64).item()),
]


def known(name: str) -> Callable[..., torch.Tensor]:
    function = function_of(name)
    assert function is not None
    return function


@pytest.mark.parametrize(("name", "given", "answer"), ANSWERS)
def test_a_function_of_floats_answers_as_cudas(name: str, given: tuple[float, ...], answer: float) -> None:
    wholes = [torch.int32 if isinstance(one, int) else torch.float64 for one in given]
    found = known(name)(*(torch.tensor([one], dtype=dtype) for one, dtype in zip(given, wholes, strict=True)))
    assert float(found[0]) == pytest.approx(float(answer), rel=1e-6, nan_ok=True)
    if answer == 0 or math.isinf(answer):
        assert math.copysign(1, float(found[0])) == math.copysign(1, answer)


@pytest.mark.parametrize("name", FAST)
def test_what_a_gpu_approximates_is_exact(name: str) -> None:
    given, answer = FAST[name]
    assert float(known(name)(torch.tensor([given]))[0]) == pytest.approx(answer, rel=1e-6)


@pytest.mark.parametrize(("name", "given", "answer"), WHOLE)
def test_a_function_of_bits_answers_as_cudas(name: str, given: tuple[object, ...], answer: object) -> None:
    assert known(name)(*(torch.from_numpy(np.array([one])) for one in given)).tolist() == [answer]


@pytest.mark.parametrize("name", ["tanh", "pow", "erfcinv", "isnan", "round"])
def test_the_name_of_a_function_of_float32_ends_in_f(name: str) -> None:
    assert known(f"{name}f") is known(name)


@pytest.mark.parametrize("name", ["fadd_rz", "dsqrt_ru", "clz", "jn", "int2float_rz", "nothing"])
def test_what_is_not_here_is_none(name: str) -> None:
    assert function_of(name) is None
