"""Where the judge writes late and looks early."""

from __future__ import annotations

import ctypes

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from daemon.errors import DeviceError
from daemon.executor.content import combs, memory
from daemon.executor.content.combs import Comb
from daemon.executor.content.memory import HostMemory
from daemon.executor.shared import driver
from daemon.executor.shared.layout import ITEM_BYTES, Layout, TensorShape, plan

shapes = st.lists(st.integers(0, 40), max_size=3).map(tuple)
tensors = st.lists(st.builds(TensorShape, st.sampled_from(sorted(ITEM_BYTES)), shapes), min_size=1, max_size=5)


def places(comb: Comb) -> list[range]:
    starts = [comb.start + number * comb.pitch for number in range(comb.teeth)]
    return [range(start, start + comb.width) for start in starts]


def owners(layout: Layout, comb: Comb) -> list[tuple[int, int]]:
    """The slot and the number of the field of every tooth, which lies in that field from end to end."""
    found = []
    for place in places(comb):
        slot, offset = divmod(place.start, layout.stride)
        [number] = [
            number
            for number, field in enumerate(layout.fields)
            if field.offset <= offset and offset + len(place) <= field.offset + field.tensor.size_bytes
        ]
        found.append((slot, number))
    return found


@given(tensors, st.integers(1, 30), st.integers(0, 2**32), st.data())
def test_every_slot_has_a_tooth_in_every_field_and_no_tooth_is_elsewhere(
    fields: list[TensorShape], slots: int, seed: int, data: st.DataObject
) -> None:
    layout = plan([(f"f{i}", tensor, True, True) for i, tensor in enumerate(fields)], slots)
    order = data.draw(st.lists(st.integers(0, slots - 1), min_size=1, unique=True))
    found = combs.drawn(layout, layout.fields, order, torch.Generator().manual_seed(seed))
    hit = {owner for comb in found for owner in owners(layout, comb)}
    filled = {number for number, tensor in enumerate(fields) if tensor.size_bytes}
    assert hit >= {(slot, number) for slot in order for number in filled}
    assert {number for _, number in hit} <= filled


def test_of_very_many_fields_the_largest_are_looked_at_each_time_and_some_others() -> None:
    sizes = [8] * 60 + [4096] * 10 + [8] * 60
    layout = plan([(f"f{i}", TensorShape("float32", (size,)), True, True) for i, size in enumerate(sizes)], 3)
    random = torch.Generator().manual_seed(1)
    drawn = [combs.drawn(layout, layout.fields, [2, 0], random) for _ in range(30)]
    found = [{number for comb in one for _, number in owners(layout, comb)} for one in drawn]
    assert all(64 <= len(fields) <= 68 for fields in found)
    assert all(set(range(60, 70)) <= fields for fields in found)
    assert set.union(*found) == set(range(130))


@pytest.mark.parametrize("others", [11, 100, 1000])
def test_what_has_most_of_the_bytes_is_looked_at_all_over_beside_however_many_others(others: int) -> None:
    shapes = [TensorShape("float32", (8,))] * others
    large = TensorShape("float32", (1 << 20,))
    layout = plan([(f"f{i}", tensor, True, True) for i, tensor in enumerate([*shapes, large, *shapes])], 4)
    field = layout.fields[others]
    last_tenth = field.offset + field.tensor.size_bytes * 9 // 10
    for seed in range(50):
        found = combs.drawn(layout, layout.fields, [3, 1, 0], torch.Generator().manual_seed(seed))
        hit = {
            place.start // layout.stride
            for comb in found
            for place in places(comb)
            if last_tenth <= place.start % layout.stride < field.offset + field.tensor.size_bytes
        }
        assert hit & {0, 1, 3}


def test_a_large_tensor_of_a_single_call_is_looked_at_all_over() -> None:
    """So that leaving a thirtieth of it undone does not pay, wherever that is."""
    layout = plan([("y", TensorShape("float32", (1 << 20,)), True, True)], 2)
    [field] = layout.fields
    start, size = layout.origin(1) + field.offset, field.tensor.size_bytes
    for seed in range(50):
        found = combs.drawn(layout, [field], [1], torch.Generator().manual_seed(seed))
        hit = {(place.start - start) * 30 // size for comb in found for place in places(comb) if place.start >= start}
        assert hit == set(range(30))


def test_nothing_to_look_at_is_no_comb() -> None:
    layout = plan([("y", TensorShape("float32", (0,)), True, True)], 2)
    random = torch.Generator()
    assert combs.drawn(layout, layout.fields, [0, 1], random) == ()
    assert combs.drawn(layout, [], [0], random) == ()


def test_pieces_of_memory_come_and_go_comb_by_comb() -> None:
    shared = HostMemory(4096)
    shared.bytes.copy_(torch.arange(4096, dtype=torch.int64).remainder(251).to(torch.uint8))
    before = shared.bytes.clone()
    one, other = Comb(10, 100, 5, 16), Comb(2000, 7, 3, 4)
    samples = shared.samples([one, other])
    samples.fetch()
    expected = [before[place.start : place.stop] for comb in (one, other) for place in places(comb)]
    assert torch.equal(samples.content, torch.cat(expected))
    samples.content.fill_(252)
    samples.put()
    assert int((shared.bytes == 252).sum()) == 5 * 16 + 3 * 4
    assert not (shared.bytes != before)[:10].any()
    shared.close()


@pytest.mark.parametrize(("pitch", "copies"), [(1 << 20, 1), ((1 << 31) - 1, 1), (1 << 31, 3)])
def test_rows_too_far_apart_for_the_driver_are_copied_one_by_one(pitch: int, copies: int) -> None:
    rows = driver.Rows(device=1 << 40, pitch=pitch, host=4096, width=16, height=3)
    found = list(driver._narrow(rows))
    assert len(found) == copies
    places = [
        (one.device + row * one.pitch, one.host + row * one.width, one.width)
        for one in found
        for row in range(one.height)
    ]
    assert places == [((1 << 40) + row * pitch, 4096 + row * 16, 16) for row in range(3)]


def test_a_copy_names_its_two_ends() -> None:
    rows = driver.Rows(device=7, pitch=5, host=9, width=3, height=2)
    up, down = driver._command(rows, to_device=True), driver._command(rows, to_device=False)
    assert (up.source_type, up.source_host, up.source_pitch) == (1, 9, 3)
    assert (up.target_type, up.target_device, up.target_pitch) == (2, 7, 5)
    assert (down.target_type, down.target_host, down.target_pitch) == (1, 9, 3)
    assert (down.source_type, down.source_device, down.source_pitch) == (2, 7, 5)
    assert (up.width, up.height) == (down.width, down.height) == (3, 2)


def test_a_command_lies_in_memory_as_the_driver_expects_it() -> None:
    """CUDA_MEMCPY2D of cuda.h, on a machine of 64 bits."""
    found = {name: getattr(driver._Copy2D, name).offset for name, _ in driver._Copy2D._fields_}
    ends = {"x": 0, "y": 8, "type": 16, "host": 24, "device": 32, "array": 40, "pitch": 48}
    expected = {f"source_{name}": offset for name, offset in ends.items()}
    expected |= {f"target_{name}": 56 + offset for name, offset in ends.items()}
    assert found == {**expected, "width": 112, "height": 120}
    assert ctypes.sizeof(driver._Copy2D) == 128


def test_a_device_that_does_not_copy_is_sick(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def make(self) -> None:
            raise driver.DriverError("cuMemcpy2DAsync_v2", 700)

    monkeypatch.setattr(driver, "_name_of", lambda code: f"CUresult {code}")
    with pytest.raises(DeviceError, match="CUresult 700"):
        memory._make(Broken())  # type: ignore[arg-type]
