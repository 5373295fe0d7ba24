"""Layout and arena: where tensors lie, what surrounds them, and how a stray write is seen."""

from __future__ import annotations

import errno
import fcntl
import math
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import HarnessError
from daemon.executor.cases.findings import by_chance
from daemon.executor.content import memory
from daemon.executor.content.arena import Arena
from daemon.executor.content.memory import DeviceFull, HostMemory
from daemon.executor.sandbox import cgroup
from daemon.executor.shared.layout import ALIGN_BYTES, GUARD_BYTES, ITEM_BYTES, TensorShape, plan, slot_stride

SLOTS = 3
shapes = st.lists(st.integers(0, 9), max_size=3).map(tuple)
tensors = st.lists(st.builds(TensorShape, st.sampled_from(sorted(ITEM_BYTES)), shapes), min_size=1, max_size=6)


@given(tensors, st.integers(1, 20))
def test_no_two_fields_touch_and_guards_stand_around_each(fields: list[TensorShape], slots: int) -> None:
    layout = plan([(f"f{i}", tensor, True, True) for i, tensor in enumerate(fields)], slots)
    cursor = 0
    for field in layout.fields:
        assert field.offset >= cursor + GUARD_BYTES
        assert field.offset % ALIGN_BYTES == 0
        cursor = field.offset + field.tensor.size_bytes
    assert layout.stride >= cursor + GUARD_BYTES
    assert layout.stride == slot_stride(fields)
    assert layout.stride % ALIGN_BYTES == 0
    assert layout.total_bytes == slots * layout.stride


@pytest.fixture(params=[0, 20], ids=["few", "many"])
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    """With so many outputs more than the test looks at."""
    fields = [
        ("x", TensorShape("float32", (5,)), False, False),
        ("out", TensorShape("float32", (5,)), True, True),
        ("empty", TensorShape("float32", (0,)), True, True),
        ("flag", TensorShape("bool", ()), True, True),
        *((f"out{number}", TensorShape("bool", (number,)), True, True) for number in range(request.param)),
    ]
    layout = plan(fields, SLOTS)
    memory = HostMemory(layout.total_bytes + 5000)  # as it is used again: larger than this layout needs
    arena = Arena(layout, memory)
    arena.compose(torch.Generator().manual_seed(1), list(range(SLOTS)))
    for slot in range(SLOTS):
        arena.place([slot], arena.layout.fields[0], (torch.arange(5.0) + slot).unsqueeze(0))
    arena.publish(list(range(SLOTS)))
    yield arena
    memory.close()


def test_an_untouched_arena_shows_no_damage_and_no_answer(arena: Arena) -> None:
    x, out, empty, *_ = arena.layout.fields
    assert arena.damage() is None
    assert arena.output(1, x).tolist() == [1, 2, 3, 4, 5]
    assert arena.unwritten([0, 1, 2], out) == 15
    assert arena.unwritten([0], empty) == 0
    assert arena.outputs([2, 0], x).tolist() == [[2, 3, 4, 5, 6], [0, 1, 2, 3, 4]]


def test_written_outputs_are_no_damage_and_no_longer_poison(arena: Arena) -> None:
    out = arena.layout.fields[1]
    arena.output(1, out).fill_(1.0)
    assert arena.damage() is None
    assert arena.unwritten([0, 1, 2], out) == 10


@pytest.mark.parametrize("slot", range(SLOTS))
@pytest.mark.parametrize(
    ("field", "offset", "words"),
    [
        (0, -1, "outside its tensors, before x"),
        (0, 0, "changed input x"),
        (0, 19, "changed input x, which the contract does not call inout for this kernel"),
        (0, 20, "outside its tensors, behind x"),
        (1, 20, "behind out"),
        (3, 1, "behind flag"),
        (3, 200, "behind flag"),
    ],
)
def test_one_flipped_bit_anywhere_else_is_seen_and_named(
    arena: Arena, slot: int, field: int, offset: int, words: str
) -> None:
    at = arena.layout.origin(slot) + arena.layout.fields[field].offset + offset
    arena.shared.bytes[at] ^= 1
    assert words in (arena.damage() or "")


def test_poison_differs_from_round_to_round(arena: Arena) -> None:
    out = arena.layout.fields[1]
    before = arena.pristine(0, out).clone().view(torch.int32)
    arena.compose(torch.Generator().manual_seed(2), list(range(SLOTS)))
    assert not torch.equal(before, arena.pristine(0, out).view(torch.int32))


def test_of_large_fields_too_all_is_drawn_but_the_inside_of_inputs() -> None:
    """Whose content is written over it. An output that kept its poison would show what a kernel had left there."""
    large = TensorShape("uint8", (1 << 20,))
    layout = plan([("x", large, False, False), ("out", large, True, True), ("y", large, False, False)], 1)
    memory = HostMemory(layout.total_bytes)
    arena = Arena(layout, memory)
    arena.compose(torch.Generator().manual_seed(1), [0])
    zeros = [int((arena.pristine(0, field) == 0).sum()) for field in layout.fields]
    assert (zeros[0], zeros[2]) == (1 << 20, 1 << 20)
    assert zeros[1] < 1 << 16
    for field in layout.fields:
        end = field.offset + field.tensor.size_bytes
        for guard in (arena.image[field.offset - GUARD_BYTES : field.offset], arena.image[end : end + GUARD_BYTES]):
            assert int((guard == 0).sum()) < GUARD_BYTES // 2
    memory.close()


def test_closed_memory_is_mapped_no_more() -> None:
    """Not when it happens to be collected: it may be gigabytes."""
    memory = HostMemory(10_000)
    mapped, before = memory._map, os.fstat(memory.fd)
    memory.close()
    assert mapped.closed
    with suppress(OSError):  # closed, or another file by now
        assert os.fstat(memory.fd).st_ino != before.st_ino


def test_shared_memory_cannot_be_resized_by_whoever_holds_its_descriptor() -> None:
    memory = HostMemory(10_000)
    for size in (0, 100_000):
        with pytest.raises(PermissionError):
            os.ftruncate(memory.fd, size)
    with pytest.raises(PermissionError):
        fcntl.fcntl(memory.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    memory.close()


def test_memory_that_a_limit_of_the_shell_forbids_is_told_with_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))

    monkeypatch.setattr(os, "ftruncate", refused)
    with pytest.raises(HarnessError, match="cannot share 10000 bytes") as caught:
        HostMemory(10_000)
    assert str(caught.value.hint).startswith("ulimit -f ")


def test_chance_explains_some_equal_bytes_and_no_equal_words() -> None:
    def field(dtype: str, count: int):  # type: ignore[no-untyped-def]
        return plan([("o", TensorShape(dtype, (count,)), True, True)], 1).fields[0]

    assert by_chance(field("float32", 1000), 10) == 0
    assert 8 < by_chance(field("bool", 1000), 1) < 40
    assert by_chance(field("bool", 1000), 1) < 1000
    assert by_chance(field("bool", 1), 1) < 5


@pytest.mark.parametrize(
    ("total", "available", "reason"),
    [
        (4000, [4000], None),
        (4000, [3000, 3000, 4000], None),
        (4000, [3000], "others leave"),
        (3000, [3000], "host has"),
    ],
)
def test_a_host_is_asked_for_no_more_memory_than_it_has_or_gets_back_in_a_moment(
    monkeypatch: pytest.MonkeyPatch, total: int, available: list[int], reason: str | None
) -> None:
    monkeypatch.setattr(memory, "_host_memory", lambda: (total, available.pop(0) if available[1:] else available[0]))
    monkeypatch.setattr(memory, "_COMES_BACK_S", 0.5)
    monkeypatch.setattr(memory, "_LOOK_AGAIN_S", 0.001)
    if reason is None:
        HostMemory(2000).close()
        return
    with pytest.raises(DeviceFull, match=f"GiB of memory are needed.*{reason}"):
        HostMemory(2000)


def test_what_a_host_has_is_what_the_kernel_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    total, available = memory._host_memory()
    assert 0 < available <= total < 1 << 60
    monkeypatch.setattr(cgroup, "memory_limit", lambda: 1 << 20)
    assert memory._host_memory()[0] == 1 << 20, "a container has what it may have"
    monkeypatch.setattr(cgroup, "memory_limit", lambda: math.inf)
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "nothing")
    assert memory._host_memory() == (math.inf, math.inf), "where it says nothing, nothing is refused"
