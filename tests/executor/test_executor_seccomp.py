"""The system call filter of a cell, run as the kernel would run it."""

from __future__ import annotations

import struct

import pytest

from daemon.executor.inside import seccomp


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_never_jumps_out_of_itself_and_ends_by_allowing(machine: str) -> None:
    code = seccomp.program(machine)
    instructions = list(struct.iter_unpack("HBBI", code))
    for index, (operation, yes, no, _) in enumerate(instructions):
        if operation & 0x07 == 0x05:
            assert index + 1 + max(yes, no) < len(instructions)
    assert instructions[-1] == (0x06, 0, 0, 0x7FFF0000)
    assert len(instructions) < 4096


def verdict_of(
    machine: str, number: int, *args: int, architecture: int | None = None, is_background: bool = False
) -> int:
    """Run the program as the kernel would, on the loads it makes."""
    known = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
    data = {0: number, 4: known[machine] if architecture is None else architecture}
    for place, arg in enumerate((*args, 0, 0, 0, 0)[:6]):
        data |= {16 + 8 * place: arg % 2**32, 20 + 8 * place: arg >> 32}
    accumulator, at = 0, 0
    program = list(struct.iter_unpack("HBBI", seccomp.program(machine, is_background=is_background)))
    while True:
        operation, yes, no, value = program[at]
        at += 1
        if operation == 0x20:
            accumulator = data[value]
        elif operation == 0x06:
            return int(value)
        else:
            taken = {0x15: accumulator == value, 0x35: accumulator >= value, 0x45: bool(accumulator & value)}[operation]
            at += yes if taken else no


ALLOW, EPERM, ENOSYS, IDLE, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x00050000, 0x80000000


@pytest.mark.parametrize(
    ("number", "args", "expected"),
    [
        (0, [0], ALLOW), (101, [0], EPERM), (321, [0], EPERM), (425, [0], EPERM), (272, [0], EPERM),
        (29, [0, 4096, 0o1600], ALLOW), (29, [0, 4096, 0o5600], EPERM),
        (29, [0, 65536, 0o1600], ALLOW), (29, [0, 65537, 0o1600], EPERM), (29, [0, 1 << 32, 0o1600], EPERM),
        (64, [0, 1, 0o1600], EPERM),
        (435, [0], ENOSYS), (0x40000000 | 101, [0], KILL),
        (56, [0x11], ALLOW), (56, [0x003D0F00], ALLOW), (56, [0x10000011], EPERM), (56, [0x20000011], EPERM),
        (41, [1], ALLOW), (41, [2], EPERM), (41, [40], EPERM), (41, [16], EPERM), (53, [1], ALLOW), (53, [30], EPERM),
        (72, [0, 3], ALLOW), (72, [10, 10], EPERM), (72, [0, 5], EPERM), (72, [0, 1024], EPERM), (72, [0, 1030], ALLOW),
        (72, [0, 6], IDLE), (72, [0, 38], IDLE), (73, [3, 2], IDLE), (447, [0], EPERM),
        (44, [1, 1, 1, 0x4040], ALLOW), (44, [0, 0, 0, 1], EPERM),
        (46, [1, 1, 0x4000], ALLOW), (46, [0, 0, 0x41], EPERM),
        (307, [1, 1, 1, 0], ALLOW), (307, [0, 0, 0, 1], EPERM), (283, [1, 0], EPERM),
        (56, [0x8011], EPERM), (302, [0, 7], ALLOW), (302, [1, 0], EPERM),
        (302, [0, 4, 0, 4096], ALLOW), (302, [0, 4, 4096], IDLE), (302, [0, 4, 1 << 32], IDLE),
        (302, [0, 3, 4096], ALLOW), (302, [1, 4, 4096], EPERM), (160, [4, 4096], IDLE), (160, [3, 4096], ALLOW),
        (54, [3, 1, 7], ALLOW), (54, [3, 1, 26], EPERM), (54, [3, 1, 51], EPERM),
        (28, [0, 0, 4], ALLOW), (28, [0, 0, 12], EPERM), (157, [38], ALLOW), (157, [67], EPERM),
        (157, [62], EPERM), (157, [22], EPERM), (317, [1, 0], EPERM), (451, [0], EPERM), (56, [18], EPERM),
        (327, [0, 0, 0, 0, 0, 0], ALLOW), (327, [0, 0, 0, 0, 0, 8], EPERM), (221, [0, 0, 0, 4], IDLE),
        (221, [0, 0, 0, 2], ALLOW), (56, [0x4111], ALLOW), (28, [0, 0, 25], EPERM), (28, [0, 0, 14], ALLOW),
        (28, [0, 0, 21], IDLE), (28, [0, 0, 3], IDLE), (221, [0, 0, 0, 3], IDLE), (187, [0, 0, 1], IDLE),
        (157, [0x53564D41], IDLE), (2, [1, 0o2000002], ALLOW), (2, [1, 0o40000], EPERM),
        (257, [0, 1, 0o300000], ALLOW), (257, [0, 1, 0o40000], EPERM),
        (72, [0, 4, 0o4000], ALLOW), (72, [0, 4, 0o44000], EPERM), (72, [0, 0, 0o40000], ALLOW),
        (9, [0, 1, 3, 0x22], ALLOW), (9, [0, 1, 3, 0x40022], EPERM), (319, [0, 3], ALLOW), (319, [0, 5], EPERM),
        (222, [1], EPERM), (237, [4096], EPERM), (444, [0], EPERM),
        (282, [3, 4096, 8], EPERM), (289, [3, 4096, 8, 0], EPERM), (434, [1, 0], EPERM), (424, [3, 0], ALLOW),
        (56, [0x1011], EPERM), (55, [3, 1, 77], EPERM), (55, [3, 1, 17], ALLOW), (54, [3, 1, 76], EPERM),
        (37, [1], EPERM), (38, [0, 4096], EPERM), (38, [1, 4096], ALLOW), (38, [2, 4096], ALLOW),
        (443, [3], EPERM), (437, [0], ENOSYS), (469, [0], ALLOW), (470, [0], ENOSYS), (1000, [0], ENOSYS),
    ],
)  # fmt: skip
def test_the_filter_decides_by_number_and_argument(number: int, args: list[int], expected: int) -> None:
    assert verdict_of("x86_64", number, *args) == expected


@pytest.mark.parametrize(
    ("number", "args", "expected"),
    [
        (56, [0, 1, 0o40000], ALLOW), (56, [0, 1, 0o200000], EPERM), (25, [0, 4, 0o200000], EPERM), (213, [0], IDLE),
        (37, [0], ALLOW), (103, [0, 4096], EPERM), (103, [2, 4096], ALLOW),
    ],
)  # fmt: skip
def test_on_arm_calls_have_numbers_and_flags_of_their_own(number: int, args: list[int], expected: int) -> None:
    assert verdict_of("aarch64", number, *args) == expected


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 203), ("aarch64", 122)])
def test_only_beside_a_measurement_a_cell_does_not_choose_its_processors(machine: str, number: int) -> None:
    assert verdict_of(machine, number, 0, 8, 4096) == ALLOW
    assert verdict_of(machine, number, 0, 8, 4096, is_background=True) == IDLE


def test_another_architecture_is_killed() -> None:
    assert verdict_of("x86_64", 11, architecture=0x40000003) == KILL
