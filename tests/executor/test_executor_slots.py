"""What a cell does around its calls on a GPU, where there is none: events and memory are made up."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from daemon.executor.inside.slots import Slots

MESSAGE = {
    "slots": 4,
    "stride": 64,
    "fields": [{"dtype": "float32", "shape": [4], "offset": 0}],
    "args": {"u": [{"t": 0}]},
    "outputs": [0],
    "output_args": [],
    "names": ["y"],
    "returns": True,
    "structure": {"t": 0},
    "blank": [0],
}


class Memory:
    """Ordinary memory that says which device it is on."""

    def __init__(self, device: str) -> None:
        self.device = device
        self._bytes = torch.zeros(1024, dtype=torch.uint8)

    def tensor(self, dtype: torch.dtype, shape: Any, offset: int) -> torch.Tensor:
        size = torch.Size(shape).numel() * dtype.itemsize
        return self._bytes[offset : offset + size].view(dtype).view(shape)


class Event:
    """Writes down what it was asked."""

    def __init__(self, done: list[str]) -> None:
        self._done = done

    def record(self) -> None:
        self._done.append("recorded")

    def synchronize(self) -> None:
        self._done.append("waited for")

    def elapsed_time(self, _last: Event) -> float:
        return 2.0


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    found: list[str] = []
    monkeypatch.setattr("daemon.executor.inside.slots.new_event", lambda: Event(found))
    monkeypatch.setattr("daemon.executor.inside.slots.new_scratch", lambda _device: torch.zeros(1))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: found.append("everything waited for"))
    yield found


def test_what_is_waited_for_is_what_the_calls_have_put_on_their_stream(done: list[str]) -> None:
    """Not what a thread goes on to launch meanwhile, for which a wait for the whole device would wait as well."""
    slots = Slots(Memory("cuda"), MESSAGE)  # type: ignore[arg-type]
    took_s = slots.run(lambda order: done.append(f"{len(order)} calls"), [2, 0, 1], lambda: done.append("launched"))
    assert done == ["recorded", "3 calls", "recorded", "launched", "waited for"]
    assert took_s == 2e-3


@pytest.mark.parametrize(("device", "launches"), [("cuda", 1), ("cpu", 0)])
def test_a_null_that_calls_nothing_launches_once_on_a_gpu(device: str, launches: int, done: list[str]) -> None:
    slots = Slots(Memory(device), MESSAGE)  # type: ignore[arg-type]
    before = slots._scratch._version
    slots.run(slots.null("loop", 0), [1, 2, 0])
    assert slots._scratch._version - before == launches


def test_two_arenas_have_the_zeros_of_their_answers_in_common() -> None:
    message = {**MESSAGE, "structure": "*"}
    one, other = (Slots(Memory("cpu"), message) for _ in range(2))  # type: ignore[arg-type]
    for slots in (one, other):
        slots._outputs[2][0].fill_(7)
        slots.run(slots.null("copy", 0), [2])
        assert not slots._outputs[2][0].any()
    assert one._zeros is other._zeros
    kept = weakref.ref(one._zeros)
    one.forget()
    assert kept() is other._zeros
    other.forget()
    assert kept() is None
