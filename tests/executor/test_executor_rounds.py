"""What a cell may find in slots that a round does not use: never nonsense, for it may be called on them."""

from __future__ import annotations

import torch

from daemon.executor.arena import Arena
from daemon.executor.layout import TensorShape, plan
from daemon.executor.memory import HostMemory


def test_slots_outside_a_round_keep_their_inputs() -> None:
    layout = plan([("index", TensorShape("int64", (4,)), False, False)], 5)
    memory = HostMemory(layout.total_bytes)
    arena = Arena(layout, memory)
    [index] = layout.fields
    secret = torch.Generator().manual_seed(1)
    arena.compose(secret, list(range(5)))
    for slot in range(5):
        arena.place(slot, index, torch.tensor([0, 1, 2, 3]))
    arena.compose(secret, [3, 0])
    assert [arena.pristine(slot, index).tolist() == [0, 1, 2, 3] for slot in range(5)] == [
        False,
        True,
        True,
        False,
        True,
    ]
    guard = arena.image[layout.origin(3) : layout.origin(3) + 256].clone()
    arena.compose(secret, [3])
    assert not torch.equal(guard, arena.image[layout.origin(3) : layout.origin(3) + 256])
    memory.close()
