"""NVRTC: CUDA C++ to a cubin inside this process.

NVRTC user guide, "User Interface": nvrtcCreateProgram, nvrtcCompileProgram, nvrtcGetProgramLog, nvrtcGetCUBIN.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from pathlib import Path

from daemon.executor.backends._compiler_log import without_folders
from daemon.executor.backends._cuda_toolkit import CompilerRefused, include_folders, load_nvrtc

_FIXED_WIDTH = "\n".join(
    f"typedef {sign} {kind} {prefix}int{bits}_t;"
    for bits, kind in ((8, "char"), (16, "short"), (32, "int"), (64, "long long"))
    for sign, prefix in (("signed", ""), ("unsigned", "u"))
)
_STDINT = f"{_FIXED_WIDTH}\ntypedef signed long long intptr_t;\ntypedef unsigned long long uintptr_t;\n"
_LIMITS = """
#define CHAR_BIT 8
#define SCHAR_MIN (-128)
#define SCHAR_MAX 127
#define UCHAR_MAX 255
#define SHRT_MIN (-32768)
#define SHRT_MAX 32767
#define USHRT_MAX 65535
#define INT_MIN (-2147483647 - 1)
#define INT_MAX 2147483647
#define UINT_MAX 4294967295U
#define LLONG_MAX 9223372036854775807LL
#define LLONG_MIN (-LLONG_MAX - 1)
#define ULLONG_MAX 18446744073709551615ULL
#define LONG_MAX 9223372036854775807L
#define LONG_MIN (-LONG_MAX - 1L)
"""
_FLOAT = """
#define FLT_MAX 3.402823466e+38F
#define FLT_MIN 1.175494351e-38F
#define FLT_EPSILON 1.192092896e-07F
#define DBL_MAX 1.7976931348623158e+308
#define DBL_MIN 2.2250738585072014e-308
#define DBL_EPSILON 2.2204460492503131e-016
"""
_MATH = """
#ifndef INFINITY
#define INFINITY __int_as_float(0x7f800000)
#endif
#ifndef NAN
#define NAN __int_as_float(0x7fffffff)
#endif
#define M_PI 3.14159265358979323846
#define M_E 2.7182818284590452354
#define M_LN2 0.69314718055994530942
#define M_SQRT2 1.41421356237309504880
#define M_SQRT1_2 0.70710678118654752440
"""
# Host headers that device code includes out of habit. What they declare is built into NVRTC or stands here.
_HOST_HEADERS = {
    "stdint.h": _STDINT,
    "cstdint": f"#include <stdint.h>\nnamespace std {{\n{_FIXED_WIDTH}\n}}\n",
    "limits.h": _LIMITS,
    "climits": _LIMITS,
    "float.h": _FLOAT,
    "cfloat": _FLOAT,
    "math.h": _MATH,
    "cmath": _MATH,
    **dict.fromkeys(("stdio.h", "cstdio", "assert.h", "cassert", "stddef.h", "cstddef", "stdlib.h", "cstdlib"), ""),
    **dict.fromkeys(("string.h", "cstring", "device_launch_parameters.h"), ""),
}


def compile_cubin(
    library: Path, name: str, architecture: str, options: Sequence[str], folders: Sequence[Path], text: str
) -> tuple[bytes, str]:
    """The cubin of `text` (called `name` in messages) and the compiler's log. Raises `CompilerRefused`."""
    nvrtc = load_nvrtc(library)
    program = ctypes.c_void_p()
    _expect(nvrtc, nvrtc.nvrtcCreateProgram(ctypes.byref(program), text.encode(), name.encode(), *_headers()))
    try:
        places = [f"--include-path={folder}" for folder in (*folders, *include_folders())]
        words = [f"--gpu-architecture={architecture}", "-default-device", *options, *places]
        encoded = (ctypes.c_char_p * len(words))(*(word.encode() for word in words))
        status = nvrtc.nvrtcCompileProgram(program, len(words), encoded)
        log = _bytes(nvrtc, program, "ProgramLog").rstrip(b"\0").decode("utf-8", "replace").strip()
        if status:
            raise CompilerRefused(without_folders(log, folders) or _message(nvrtc, status))
        return _bytes(nvrtc, program, "CUBIN"), without_folders(log, folders)
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _headers() -> tuple[int, ctypes.Array[ctypes.c_char_p], ctypes.Array[ctypes.c_char_p]]:
    kind = ctypes.c_char_p * len(_HOST_HEADERS)
    contents = kind(*(content.encode() for content in _HOST_HEADERS.values()))
    return len(_HOST_HEADERS), contents, kind(*(name.encode() for name in _HOST_HEADERS))


def _bytes(nvrtc: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _expect(nvrtc, getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _expect(nvrtc, getattr(nvrtc, f"nvrtcGet{what}")(program, buffer))
    return buffer.raw


def _expect(nvrtc: ctypes.CDLL, status: int) -> None:
    if status:
        raise CompilerRefused(_message(nvrtc, status))


def _message(nvrtc: ctypes.CDLL, status: int) -> str:
    nvrtc.nvrtcGetErrorString.restype = ctypes.c_char_p
    return bytes(nvrtc.nvrtcGetErrorString(status)).decode()
