"""The system call filter of a cell: `system_calls` as a classic BPF program.

Layout of `struct seccomp_data`, which the program loads from: nr at 0, arch at 4, args at 16 (linux/seccomp.h).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct

from daemon.executor.inside.system_calls import (
    ABSENT,
    IDLE,
    IDLE_IN_THE_BACKGROUND,
    MACHINES,
    PR_SET_SECCOMP,
    REFUSED,
    RULES,
    UNKNOWN,
    Rule,
    Test,
)

_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_JUMPS = {Test.EQUALS: _JUMP_EQ, Test.HAS_BITS: _JUMP_SET, Test.IS_AT_LEAST: _JUMP_GE}
_NR, _ARCH, _ARG0 = 0, 4, 16
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000
_X32_BIT = 0x40000000
_PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 38, 2

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def _instruction(code: int, jump_true: int, jump_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, jump_true, jump_false, value)


def program(machine: str | None = None, *, is_background: bool = False) -> bytes:
    """The filter for `machine` (default: this one), as an array of `struct sock_filter`. `is_background`: of a cell
    beside which others are timed.

    Raises `KeyError` for an architecture without a table.
    """
    machine = machine or platform.machine()
    architecture, column = _ARCHITECTURES[machine], MACHINES.index(machine)
    refuse, idle = _instruction(_RETURN, 0, 0, _ERRNO | errno.EPERM), _instruction(_RETURN, 0, 0, _ERRNO)
    parts = [
        _instruction(_LOAD, 0, 0, _ARCH),
        _instruction(_JUMP_EQ, 1, 0, architecture),
        _instruction(_RETURN, 0, 0, _KILL),
        _instruction(_LOAD, 0, 0, _NR),
    ]
    if machine == "x86_64":
        parts += [_instruction(_JUMP_GE, 0, 1, _X32_BIT), _instruction(_RETURN, 0, 0, _KILL)]
    for numbers in REFUSED.values():
        if (number := numbers[column]) is not None:
            parts += [_instruction(_JUMP_EQ, 0, 1, number), refuse]
    for call in (IDLE | (IDLE_IN_THE_BACKGROUND if is_background else {})).values():
        parts += [_instruction(_JUMP_EQ, 0, 1, call[column]), idle]
    absent = _instruction(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    for number in ABSENT.values():
        parts += [_instruction(_JUMP_EQ, 0, 1, number), absent]
    parts += [_instruction(_JUMP_GE, 0, 1, UNKNOWN), absent]
    for rule in RULES:
        parts += _by_argument(rule, column, idle if rule.is_idle else refuse)
    parts.append(_instruction(_RETURN, 0, 0, _ALLOW))
    return b"".join(parts)


def _by_argument(rule: Rule, column: int, answer: bytes) -> list[bytes]:
    if (number := rule.numbers[column]) is None:
        return []
    left = 2 * len(rule.conditions)  # instructions
    parts = [_instruction(_JUMP_EQ, 0, left + 2, number)]
    for condition in rule.conditions:
        left -= 2
        value = condition.value if isinstance(condition.value, int) else condition.value[column]
        onward, past_the_answer = (0, left + 1) if condition.must_hold else (left + 1, 0)
        parts += [
            _instruction(_LOAD, 0, 0, _ARG0 + 8 * condition.argument + 4 * condition.is_upper),
            _instruction(_JUMPS[condition.test], onward, past_the_answer, value),
        ]
    return [*parts, answer, _instruction(_LOAD, 0, 0, _NR)]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install(*, is_background: bool) -> None:
    """Filter this thread and all it starts, for good. Raises `OSError` when the kernel refuses."""
    code = program(is_background=is_background)
    buffer = ctypes.create_string_buffer(code, len(code))
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(header), 0, 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
