"""Where calls that are captured have what they allocate for a while: memory is ordinary memory here."""

from __future__ import annotations

import weakref

import pytest
import torch

from daemon.executor.inside import recording

CALLS = 128


def test_what_shifts_a_call_is_there_during_the_call_alone_and_differs_from_call_to_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[weakref.ref[torch.Tensor]] = []
    sizes: list[int] = []

    def empty(size: int, *, dtype: torch.dtype, device: str) -> torch.Tensor:
        tensor = torch.zeros(size, dtype=dtype, device=device)
        made.append(weakref.ref(tensor))
        sizes.append(size)
        return tensor

    def call(number: int) -> int:
        assert [one() is None for one in made] == [True] * number + [False]
        return 2 * number

    monkeypatch.setattr(recording.torch, "empty", empty)
    moved = recording.at_changing_places(call, "cpu")
    assert [moved(number) for number in range(CALLS)] == [2 * number for number in range(CALLS)]
    assert made[-1]() is None
    assert sorted(sizes) == [512 * number for number in range(CALLS)]
    assert len({size // 8192 for size in sizes[:8]}) == 8, "a graph of few calls has them far apart as well"
