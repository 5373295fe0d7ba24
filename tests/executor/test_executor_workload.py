"""What a cell does with the judge's words, without a cell."""

from __future__ import annotations

from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from daemon.executor.inside.workload import Workload
from daemon.executor.shared.protocol import packed

DRAWS = 5


class Slots:
    """Two captured graphs, each of which draws numbers as a launch of it would: by the generator as it finds it."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self.drawn: list[list[float]] = []

    def calls(self, call: Any) -> Any:
        """The work of a round, as a capture has it done: Python runs, and nothing is drawn."""
        return lambda order: [call(slot) for slot in order]

    def capture(self, work: Any, order: list[int], *_: Any) -> None:
        """What a launch does is in the graphs."""
        work(order)

    def replay(self, _number: int) -> float:
        self.drawn.append(torch.rand(DRAWS, generator=self._generator).tolist())
        return 0.0


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch) -> Slots:
    generator = torch.Generator()
    monkeypatch.setattr(torch.cuda, "default_generators", (generator,))
    return Slots(generator)


@pytest.fixture
def workload(slots: Slots) -> Any:
    with torch.enable_grad():  # a workload turns it off
        made: Any = Workload(threads=torch.get_num_threads(), backend_paths=[], device="cpu", tell=lambda _: None)
        made._attachments = SimpleNamespace(slots=lambda *_: slots)
        made._subject.loaded = SimpleNamespace(call=lambda _: None, stream=None)
        yield made


def word(kind: str, seed: int) -> dict[str, Any]:
    order = [0, 1] if kind == "capture" else packed(())
    return {"type": kind, "order": order, "seed": seed, "replay": True, "announce": False, "null": None, "graph": 0}


def test_a_launched_graph_draws_by_the_seed_of_its_round(workload: Any, slots: Slots) -> None:
    """It drew by that of the capture, and a kernel that knows it can have the numbers of a round ready before."""
    workload.handle(word("capture", 1), [])
    for seed in (2, 3, 2):
        workload.handle(word("run", seed), [])
    expected = [torch.rand(DRAWS, generator=torch.Generator().manual_seed(seed)).tolist() for seed in (2, 3, 2)]
    assert slots.drawn == expected


class HandsOn(nn.Module):
    """As KernelBench's recurrent cells: each call makes the state anew. Kept as an attribute, a tuple or a buffer."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.begun = torch.ones(2)
        if kind == "buffer":
            self.register_buffer("state", self.begun)
        else:
            self.state: Any = (self.begun, self.begun) if kind == "tuple" else self.begun

    def forward(self, slot: int) -> torch.Tensor:
        made = (self.state[0] if self.kind == "tuple" else self.state) * 2 + slot
        self.state = (made, made) if self.kind == "tuple" else made
        return made


class Leaves(nn.Module):
    """Keeps what it has made for whoever likes to look at it, as torch's older weight_norm does, and never reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.ones(2)

    def forward(self, slot: int) -> torch.Tensor:
        self.weight = torch.full((2,), float(slot))
        return self.weight + 1


def capture(workload: Any, module: nn.Module) -> str | None:
    workload._subject.instance, workload._subject.loaded.call = module, module
    reason: str | None = workload.handle(word("capture", 1), [])["reason"]
    return reason


@pytest.mark.parametrize("kind", ["attribute", "tuple", "buffer"])
def test_a_module_that_hands_a_new_tensor_on_from_call_to_call_is_no_graph_and_keeps_its_state(
    workload: Any, kind: str
) -> None:
    """What is captured does not run: its state was memory that nothing had been written to, from then on."""
    module = HandsOn(kind)
    reason = capture(workload, module)
    assert reason is not None
    assert reason.startswith("every call needs what the one before has made and kept as state: AttributeError")
    assert (module.state[0] if kind == "tuple" else module.state) is module.begun
    assert ("state" in dict(module.named_buffers())) is (kind == "buffer")
    assert capture(workload, module) == reason


def test_a_capture_that_fails_midway_leaves_the_modules_state_as_it_was(workload: Any) -> None:
    module = HandsOn("attribute")

    def fail(slot: int) -> None:
        module(slot)
        raise RuntimeError("operation not permitted when stream is capturing")

    workload._subject.instance, workload._subject.loaded.call = module, fail
    reason = workload.handle(word("capture", 1), [])["reason"]
    assert reason == "RuntimeError: operation not permitted when stream is capturing"
    assert module.state is module.begun


def test_a_module_that_keeps_what_it_never_reads_is_captured(workload: Any) -> None:
    assert capture(workload, Leaves()) is None


def test_a_compiled_module_is_captured(workload: Any) -> None:
    """Its parameters are in no dictionary, and cannot be put back."""
    module = Leaves()
    vars(module)["_parameters"] = MappingProxyType({"bias": torch.ones(2)})
    assert capture(workload, module) is None
