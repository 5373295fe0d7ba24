"""What a cell may find in slots that a round does not use: never nonsense, for it may be called on them."""

from __future__ import annotations

import pytest
import torch

from daemon.executor.content.arena import Arena, raw
from daemon.executor.content.memory import HostMemory
from daemon.executor.shared.layout import ITEM_BYTES, TensorShape, plan


def test_slots_outside_a_round_keep_their_inputs() -> None:
    layout = plan([("index", TensorShape("int64", (4,)), False, False)], 5)
    memory = HostMemory(layout.total_bytes)
    arena = Arena(layout, memory)
    [index] = layout.fields
    secret = torch.Generator().manual_seed(1)
    arena.compose(secret, list(range(5)))
    arena.place([4, 1, 0, 2, 3], index, torch.tensor([0, 1, 2, 3]).expand(5, 4))
    arena.compose(secret, [4, 3])
    assert [arena.pristine(slot, index).tolist() == [0, 1, 2, 3] for slot in range(5)] == [
        True,
        True,
        True,
        False,
        False,
    ]
    guard = arena.image[layout.origin(3) : layout.origin(3) + 256].clone()
    arena.compose(secret, [3])
    assert not torch.equal(guard, arena.image[layout.origin(3) : layout.origin(3) + 256])
    memory.close()


@pytest.mark.parametrize("slots", [[0, 1, 2], [2, 1]], ids=["all", "some"])
@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 3, (1 << 20) + 13])
def test_all_but_the_inside_of_large_inputs_is_drawn_anew(size: int, slots: list[int]) -> None:
    large, small, out = (TensorShape("uint8", (count,)) for count in (size, 40, 48))
    fields = [("x", large, False, False), ("small", small, False, False), ("y", out, True, True)]
    layout = plan([*fields, ("z", large, False, False)], 3)
    memory = HostMemory(layout.total_bytes)
    arena = Arena(layout, memory)
    secret = torch.Generator().manual_seed(1)
    arena.compose(secret, slots)
    before = arena.image.clone()
    arena.compose(secret, slots)
    for slot in slots:
        changed = (before != arena.image)[layout.origin(slot) : layout.origin(slot) + layout.stride]
        for field in (layout.fields[0], layout.fields[3]):
            changed[field.offset : field.offset + size] = True
        # Of eight bytes in a row some change; what lies inside a large input does not count.
        assert changed.view(-1, 8).any(dim=1).all()
    memory.close()


@pytest.mark.parametrize("order", [[3], [4, 2, 3], [0], list(range(6))])
def test_what_is_published_is_the_slots_of_the_round_and_no_others(order: list[int]) -> None:
    layout = plan([("x", TensorShape("int32", (8,)), False, False)], 6)
    memory = HostMemory(layout.total_bytes)
    arena = Arena(layout, memory)
    arena.compose(torch.Generator().manual_seed(1), list(range(6)))
    arena.publish(order)
    [field] = layout.fields
    alike = [slot for slot in range(6) if torch.equal(arena.output(slot, field), arena.pristine(slot, field))]
    assert alike == sorted(order)
    memory.close()


def test_slots_that_are_no_neighbours_are_refused() -> None:
    layout = plan([("x", TensorShape("int32", (8,)), False, False)], 6)
    memory = HostMemory(layout.total_bytes)
    arena = Arena(layout, memory)
    with pytest.raises(ValueError, match="no neighbours"):
        arena.compose(torch.Generator(), [0, 2])
    with pytest.raises(ValueError, match="no neighbours"):
        arena.publish([4, 3, 1])
    memory.close()


@pytest.mark.parametrize("dtype", sorted(ITEM_BYTES))
@pytest.mark.parametrize("shape", [(), (3,), (2, 5), (0, 4)])
def test_contents_of_every_dtype_land_in_the_slots_they_are_for(dtype: str, shape: tuple[int, ...]) -> None:
    layout = plan([("x", TensorShape(dtype, shape), False, False), ("y", TensorShape(dtype, shape), True, True)], 6)
    memory = HostMemory(layout.total_bytes)
    arena = Arena(layout, memory)
    field = layout.fields[0]
    order = [5, 3, 4]
    content = torch.arange(256, dtype=torch.uint8).repeat(20)[: 3 * field.tensor.size_bytes]
    values = content.view(getattr(torch, dtype)).reshape(3, *shape) if field.tensor.count else torch.empty(3, *shape)
    arena.place(order, field, values)
    arena.publish(order)
    for number, slot in enumerate(order):
        assert torch.equal(raw(arena.output(slot, field)), raw(values[number].to(arena.output(slot, field).dtype)))
    assert torch.equal(raw(arena.outputs(order, field)), raw(values.to(arena.outputs(order, field).dtype)))
    memory.close()
