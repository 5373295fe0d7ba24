"""Which content is drawn from the seeds of a contract, and which from secret ones."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from daemon.contract import InitKind, InitSpec, TensorSpec
from daemon.executor.content.drawing import Drawer, checksums
from daemon.executor.content.exports import _KEPT_BYTES, Export, StagingBuffer
from daemon.executor.content.inputs import Secret, draw
from daemon.executor.content.memory import HostMemory
from daemon.executor.content.wiring import Logical
from daemon.executor.shared.layout import TensorShape
from daemon.verdict import Phase

SPEC = TensorSpec(shape=(64,), dtype="float32", init=InitSpec(kind=InitKind.RANDN, seed=7))
SPEC_LARGE = SPEC.model_copy(update={"shape": (99999,)})


@pytest.fixture
def declared() -> torch.Tensor:
    """What the seed of the contract stands for."""
    return draw(SPEC, torch.Generator().manual_seed(7))


def drawer(*, static: bool) -> Drawer:
    return Drawer([Logical("x", TensorShape("float32", (64,)), SPEC, static)], Secret("cpu"), None)


def drawn(source: Drawer, purpose: str, number: int) -> torch.Tensor:
    return source.draw(purpose, number, [0, 1], deadline=time.monotonic() + 60)[0]


def test_a_seed_is_used_in_the_first_trial_and_in_no_other(declared: torch.Tensor) -> None:
    source = drawer(static=False)
    for purpose, number, expected in (
        ("check", -1, False),
        ("check", 0, True),
        ("check", 1, False),
        ("round", 0, False),
    ):
        assert torch.equal(drawn(source, purpose, number)[0], declared) is expected, (purpose, number)


def test_what_stays_the_same_has_its_seed_whatever_it_is_drawn_for_first(declared: torch.Tensor) -> None:
    """On a GPU the first call of all is one that tunes."""
    source = drawer(static=True)
    for purpose, number in (("check", -1), ("check", 0), ("check", 1), ("round", 5)):
        assert all(torch.equal(one, declared) for one in drawn(source, purpose, number)), (purpose, number)


PADDED = 64  # bytes that its four ones lie in


class Cell:
    """Has four ones to give."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def request(self, message: Mapping[str, Any], *_: object, **__: object) -> dict[str, object]:
        self.asked.append(message["type"])
        return {"tree": {"d": [["ones", {"t": 0}]]}, "tensors": [{"dtype": "float32", "shape": [4]}]}

    def freeze(self) -> None:
        return


@pytest.mark.parametrize(("device", "waited"), [("cpu", False), ("cuda", True)])
def test_tensors_that_go_to_another_cell_have_arrived_where_they_lie(
    device: str, waited: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy on a GPU is queued, and the cell that gets it has a queue of its own: weights would be half there."""
    shared: list[HostMemory] = []
    at_the_end: list[bool] = []

    def share(_: str, size_bytes: int) -> HostMemory:
        shared.append(HostMemory(size_bytes))
        shared[-1].bytes.fill_(len(shared) == 1)
        return shared[-1]

    monkeypatch.setattr("daemon.executor.content.exports.share", share)
    monkeypatch.setattr(
        torch.cuda, "synchronize", lambda: at_the_end.append(torch.equal(*(one.bytes[:PADDED] for one in shared)))
    )
    cell: Any = Cell()
    export = Export(StagingBuffer(cell, device), "init", 1 << 20)
    export.describe(0, time.monotonic() + 60)
    try:
        copy = export.fetch(time.monotonic() + 60)
        assert copy.bytes[:PADDED].tolist() == [1] * PADDED
        assert at_the_end == [True] * waited
    finally:
        for one in shared:
            one.close()


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_cell_is_frozen_after_each_answer_before_what_it_wrote_is_read(
    device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could change its tensors while they are copied, and run while another cell is timed."""
    happened: list[str] = []

    class Told(Cell):
        def request(self, message: Mapping[str, Any], *given: object, **more: object) -> dict[str, object]:
            happened.append(message["type"])
            return super().request(message, *given, **more)

        def freeze(self) -> None:
            happened.append("freeze")

    monkeypatch.setattr("daemon.executor.content.exports.share", lambda _, size_bytes: HostMemory(size_bytes))
    stacked = Export._stacked

    def read(export: Export, sets: torch.Tensor) -> list[torch.Tensor]:
        happened.append("read")
        return stacked(export, sets)

    monkeypatch.setattr(Export, "_stacked", read)
    cell: Any = Told()
    buffer = StagingBuffer(cell, device)
    try:
        export = Export(buffer, "inputs", 1 << 20)
        export.describe(0, time.monotonic() + 60)
        export.tensors(time.monotonic() + 60)
        buffer.having(1 << 20, Phase.CHECK)
    finally:
        buffer.close()
    assert happened[:2] == ["export", "freeze"]
    assert happened[3:5] == ["freeze", "read"]
    assert happened[5:] == (["let_go", "freeze"] if device == "cuda" else [])


@pytest.mark.parametrize(("device", "told"), [("cpu", []), ("cuda", ["let_go"])])
def test_what_leaves_a_cell_goes_by_one_memory_which_is_made_larger_where_it_must(
    device: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.executor.content.exports.share", lambda _, size_bytes: HostMemory(size_bytes))
    cell: Any = Cell()
    buffer = StagingBuffer(cell, device)
    try:
        first = buffer.having(PADDED, Phase.CHECK)
        for what in ("inputs", "state"):
            export = Export(buffer, what, 1 << 20)
            export.describe(0, time.monotonic() + 60)
            export.tensors(time.monotonic() + 60)
        assert buffer.having(PADDED, Phase.CHECK) is first
        cell.asked.clear()
        assert buffer.having(1 << 20, Phase.CHECK).bytes.numel() == 1 << 20
        assert cell.asked == told
        monkeypatch.setitem(_KEPT_BYTES, device, 1 << 10)
        buffer.trim(Phase.CHECK)
        assert buffer.having(PADDED, Phase.CHECK).bytes.numel() < 1 << 20
    finally:
        buffer.close()


def test_few_contents_are_noticed_whoever_draws_them() -> None:
    number = TensorSpec(shape=(1,), dtype="int32", init=InitSpec(kind=InitKind.UNIFORM, low=0, high=7))
    few = Drawer([Logical("i", TensorShape("int32", (1,)), number, False)], Secret("cpu"), None)
    many = drawer(static=False)
    large = Drawer([Logical("x", TensorShape("float32", (99999,)), SPEC_LARGE, False)], Secret("cpu"), None)
    for source in (few, many, large):
        source.draw("round", 1, list(range(32)), deadline=time.monotonic() + 60)
    assert (few.repeats, many.repeats, large.repeats) == (True, False, False)


@pytest.mark.parametrize(
    ("shape", "init"),
    [
        ((64,), InitSpec(kind=InitKind.RANDN, mean=1, std=1e-30)),
        ((64,), InitSpec(kind=InitKind.UNIFORM, low=1, high=1.00000001)),
        ((0,), InitSpec(kind=InitKind.RANDN)),
    ],
    ids=["normal", "uniform", "empty"],
)
def test_a_contract_that_asks_for_numbers_which_come_out_alike_fixes_its_inputs(
    shape: tuple[int, ...], init: InitSpec
) -> None:
    alike = Logical("x", TensorShape("float32", shape), TensorSpec(shape=shape, dtype="float32", init=init))
    source = Drawer([alike], Secret("cpu"), None)
    drawn(source, "check", 0)
    drawn(source, "check", 1)
    assert source.never_varied
    beside = Drawer([alike, Logical("y", TensorShape("float32", (64,)), SPEC)], Secret("cpu"), None)
    assert not beside.never_varied  # of what nobody has looked at
    drawn(beside, "check", 0)
    drawn(beside, "check", 1)
    assert not beside.never_varied


@pytest.mark.parametrize("kind", [InitKind.RANDN, InitKind.ZEROS])
def test_as_many_calls_as_a_round_may_have_fit_tensors_without_elements(kind: InitKind) -> None:
    """Of the widest shape that a contract may give them: 16384 of twice that and what they span is beyond 64 bits."""
    shape = ((1 << 48) - 1, 0)
    spec = TensorSpec(shape=shape, dtype="complex64", init=InitSpec(kind=kind))
    source = Drawer([Logical("x", TensorShape("complex64", shape), spec)], Secret("cpu"), None)
    assert source.draw("round", 1, list(range(16384)), deadline=0.0)[0].shape == (16384, *shape)


def test_the_same_content_for_the_same_purpose_is_no_repetition() -> None:
    source = drawer(static=False)
    for _ in range(3):
        drawn(source, "check", 1)
    assert not source.repeats


def test_drawing_more_of_the_same_for_other_slots_is_no_repetition() -> None:
    """Sizing does it; whatever is drawn first is the same then."""
    uniform = TensorSpec(shape=(64,), dtype="float32", init=InitSpec(kind=InitKind.UNIFORM))
    source = Drawer([Logical("x", TensorShape("float32", (64,)), uniform, False)], Secret("cpu"), None)
    few, many = (
        source.draw("warm", 0, slots, deadline=time.monotonic() + 60)[0] for slots in ([2, 0, 1], [7, 5, 3, 1, 6, 4])
    )
    assert torch.equal(few, many[:3])
    assert not source.repeats


@pytest.mark.parametrize(("period", "comes_again"), [(300, True), (1 << 40, False)])
def test_sets_that_come_again_after_long_are_noticed(period: int, comes_again: bool) -> None:
    count = itertools.count()

    def sets(seeds: list[int], _deadline: float) -> list[torch.Tensor]:
        return [torch.tensor([[next(count) % period] * 4 for _ in seeds])]

    source: Any = SimpleNamespace(sets=sets)
    counting = Drawer([Logical("x", TensorShape("int64", (4,)), None)], Secret("cpu"), source)
    for number in range(20):
        counting.draw("round", number, list(range(32)), deadline=0.0)
    assert counting.repeats is comes_again


def test_what_a_source_never_varies_beside_what_it_does_is_named() -> None:
    def sets(seeds: list[int], _deadline: float) -> list[torch.Tensor]:
        moving = torch.tensor(seeds)[:, None] + torch.arange(4)
        return [moving, torch.ones(len(seeds), 4), torch.full((len(seeds),), 0.5)]

    shapes = [TensorShape("int64", (4,)), TensorShape("float32", (4,)), TensorShape("float32", ())]
    source: Any = SimpleNamespace(sets=sets)
    logicals = [Logical(f"input{number}", shape, None) for number, shape in enumerate(shapes)]
    mixed = Drawer(logicals, Secret("cpu"), source)
    mixed.draw("check", 0, [0, 1], deadline=0.0)
    assert mixed.unchanging == ["input1"]
    source.sets = lambda seeds, _: sets([1] * len(seeds), 0.0)
    still = Drawer(logicals, Secret("cpu"), source)
    still.draw("check", 0, [0, 1], deadline=0.0)
    assert still.unchanging == []  # fixed_inputs says it of all


def test_contents_in_another_order_are_others() -> None:
    """A permutation has the same sum whatever its order, and the rows of a matrix may be what trades places."""
    tensors = torch.stack([torch.randperm(4096, generator=torch.Generator().manual_seed(seed)) for seed in range(64)])
    for rows in (tensors, tensors.to(torch.int16), tensors.to(torch.float32), (tensors[:, :12] % 2).to(torch.uint8)):
        assert len(set(checksums([rows])[0])) == len(torch.unique(rows, dim=0))
    matrix = torch.randn(64, 4096, generator=torch.Generator().manual_seed(0))
    orders = [torch.randperm(64, generator=torch.Generator().manual_seed(seed)) for seed in range(64)]
    assert len(set(checksums([torch.stack([matrix[order] for order in orders])])[0])) == 64
    assert len(set(checksums([torch.stack([matrix.reshape(4096, 64)[:, order] for order in orders])])[0])) == 64
    assert len(set(checksums([torch.stack([matrix] * 3)])[0])) == 1


def test_tensors_that_are_summed_together_have_the_sums_they_have_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    sizes = [3, 16, 16, 7, 0, 16, 20_000, 1 << 18, 3, 20_000]
    many = [
        torch.randn(4, size, generator=generator).to(torch.float64 if size == 3 else torch.float16) for size in sizes
    ]
    many.append(torch.randn(1, 16, generator=generator).expand(4, 16))
    together = checksums(many)
    assert together == [checksums([one])[0] for one in many]
    assert len({tuple(sums) for sums in together}) == len(many)
    assert len(set(together[-1])) == 1
