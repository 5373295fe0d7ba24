"""What a cell does with the judge's words, without a cell."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from daemon.executor.inside.workload import Workload
from daemon.executor.shared.protocol import packed

DRAWS = 5


class Slots:
    """Two captured graphs, each of which draws numbers as a launch of it would: by the generator as it finds it."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self.drawn: list[list[float]] = []

    def calls(self, _call: Any) -> None:
        """No work: it is in the graphs."""

    def capture(self, *_: Any) -> None:
        """Nothing is drawn by a capture."""

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
        made._kernel = SimpleNamespace(call=None, stream=None)
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
