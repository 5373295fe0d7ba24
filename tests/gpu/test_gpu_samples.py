"""Pieces of a GPU's memory that come and go without a kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from daemon.executor.content.combs import Comb
from daemon.executor.content.memory import DeviceMemory
from daemon.executor.host.devices import Device

pytestmark = pytest.mark.gpu

SIZE = 1 << 22
COMBS = (Comb(7, 4096, 1000, 16), Comb(100_001, 3, 50, 2), Comb(12, 16, 1, 16))
LONG_CYCLES = 4_000_000_000  # two seconds and more


@pytest.fixture
def memory(gpu: Device) -> Iterator[DeviceMemory]:
    made = DeviceMemory(SIZE)
    made.bytes.random_(0, 256)
    torch.cuda.synchronize()
    yield made
    torch.cuda.synchronize()
    made.close()


def test_what_is_fetched_is_what_is_there(memory: DeviceMemory) -> None:
    samples = memory.samples(COMBS)
    samples.fetch()
    assert torch.equal(samples.content, torch.cat([comb.of(memory.bytes).reshape(-1) for comb in COMBS]).cpu())


def test_what_is_put_is_there_and_nothing_else_has_changed(memory: DeviceMemory) -> None:
    expected = memory.bytes.clone()
    samples = memory.samples(COMBS[:2])
    samples.content.random_(0, 256)
    pieces = samples.content.cuda().split([comb.size_bytes for comb in COMBS[:2]])  # type: ignore[no-untyped-call]
    for comb, piece in zip(COMBS[:2], pieces, strict=True):
        comb.of(expected).copy_(piece.view(comb.teeth, comb.width))
    samples.put()
    assert torch.equal(memory.bytes, expected)


def test_a_kernel_that_runs_is_not_waited_for(memory: DeviceMemory) -> None:
    samples, over = memory.samples(COMBS), torch.cuda.Event()
    samples.fetch()
    torch.cuda._sleep(LONG_CYCLES)
    over.record()
    samples.fetch()
    samples.put()
    assert not over.query()
