"""One kernel of a case as the judge handles it: its cell, its wiring, its arena; and what one round of it is."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum

import torch

from daemon.executor.arena import Arena
from daemon.executor.cells import Cell
from daemon.executor.layout import Field
from daemon.executor.wiring import Wiring
from daemon.verdict import Phase

_PROBE_WORDS = 4096
_LATE_WORDS = 4096
_MAX_WORDS_PER_SLOT = 64
_ROUSING_CALLS = 4


@dataclass(frozen=True)
class RoundPlan:
    """What the judge drew for one round: order of slots, and word positions for the late part and the probe."""

    order: tuple[int, ...]
    late: torch.Tensor  # int64 indices of 32-bit words, in fields whose content is secret
    late_wrong: torch.Tensor  # what stands there until the clock runs
    probe: torch.Tensor  # int64 indices of 32-bit words in fields the kernel writes


class NullKernel(StrEnum):
    """What the null candidate does: the bare loop over the slots, or also the copy of a returned answer into each
    slot."""

    LOOP = "loop"
    COPY = "copy"


class SidePlace:
    """Cell, wiring and arena together. `attach` may be called again with more slots."""

    def __init__(self, cell: Cell, wiring: Wiring) -> None:
        self.cell = cell
        self.wiring = wiring
        self.arena: Arena | None = None

    def attach(self, slots: int, *, phase: Phase, deadline: float) -> Arena:
        """A fresh arena of `slots` slots, mapped by the cell."""
        self.close()
        self.arena = Arena(self.wiring.layout(slots))
        attach(self.cell, self.wiring, self.arena, phase=phase, deadline=deadline)
        return self.arena

    def answers(self, slot: int) -> list[tuple[str, torch.Tensor]]:
        """The answer of one slot by name, as the cell left it. The cell must be frozen or dead while they are used."""
        arena = self.attached
        fields = arena.layout.fields
        return [
            (name, arena.output(slot, fields[index]))
            for index, name in zip(self.wiring.answer, self.wiring.names, strict=True)
        ]

    @property
    def attached(self) -> Arena:
        if self.arena is None:
            raise RuntimeError("no arena yet")
        return self.arena

    def answer_fields(self) -> list[Field]:
        """The fields of the answer."""
        return [self.attached.layout.fields[index] for index in self.wiring.answer]

    def close(self) -> None:
        if self.arena is not None:
            self.arena.close()
            self.arena = None


def attach(
    cell: Cell, wiring: Wiring, arena: Arena, *, phase: Phase, deadline: float, null: NullKernel | None = None
) -> None:
    """Tell `cell` to map `arena`, and leave it frozen. `null` makes it a null candidate: no kernel runs."""
    layout = arena.layout
    fields = [
        {"dtype": field.tensor.dtype, "shape": list(field.tensor.shape), "offset": field.offset}
        for field in layout.fields
    ]
    message = {
        "type": "attach",
        "slots": layout.slots,
        "base": layout.base,
        "stride": layout.stride,
        "order_offset": 0,
        "fields": fields,
        "args": wiring.args,
        "outputs": list(wiring.answer),
        "output_args": list(wiring.output_args),
        "names": list(wiring.names),
        "returns": wiring.returns and null is not NullKernel.LOOP,
        "structure": wiring.structure,
        "null": null is not None,
    }
    cell.request(message, "attached", phase=phase, deadline=deadline, fds=(arena.shared.fd,))
    cell.freeze()


def plan_round(arena: Arena, secret_fields: list[Field], order: list[int], generator: torch.Generator) -> RoundPlan:
    """Draw the secret positions of one round. `secret_fields`: inputs whose content the contract does not fix."""
    written = [field for field in arena.layout.fields if field.writable]
    late = _words(arena, secret_fields, order, _LATE_WORDS, generator)
    wrong = torch.randint(-(2**31), 2**31, (late.numel(),), generator=generator, dtype=torch.int64).to(torch.int32)
    return RoundPlan(tuple(order), late, wrong, _words(arena, written, order, _PROBE_WORDS, generator))


def _words(
    arena: Arena, fields: list[Field], order: list[int], budget: int, generator: torch.Generator
) -> torch.Tensor:
    """Random 32-bit word positions, spread over `fields` of all slots of the round; at least one per slot and field.

    A word at the end of a field may reach into the guard behind it: harmless, both keep what the image says.
    """
    fields = [field for field in fields if field.tensor.count]
    if not fields or not order:
        return torch.empty(0, dtype=torch.int64)
    per_field = max(1, min(_MAX_WORDS_PER_SLOT, budget // (len(order) * len(fields))))
    origins = torch.tensor([arena.layout.origin(slot) for slot in order], dtype=torch.int64)
    chosen = []
    for field in fields:
        words = -(-field.tensor.size_bytes // 4)
        inside = torch.randint(0, words, (len(order), per_field), generator=generator, dtype=torch.int64)
        chosen.append(((origins + field.offset)[:, None] // 4 + inside).reshape(-1))
    return torch.cat(chosen)


@dataclass(frozen=True)
class RoundResult:
    """`wall_s`: from the clock's start to the end of the probe. `late_writes`: sampled words that changed after
    "done"."""

    wall_s: float
    late_writes: int


def run_untimed(place: SidePlace, order: list[int], seed: int, *, phase: Phase, deadline: float) -> float:
    """One round without a clock to speak of: publish, run, freeze. Seconds it took, roughly."""
    place.cell.freeze()
    place.cell.require_silence()
    place.attached.set_order(order)
    place.attached.publish(max(order) + 1)
    start = time.perf_counter()
    place.cell.request({"type": "run", "calls": len(order), "seed": seed}, "done", phase=phase, deadline=deadline)
    wall_s = time.perf_counter() - start
    place.cell.freeze()
    place.cell.require_silence()
    return wall_s


def _rouse(cell: Cell, calls: int, seed: int, deadline: float) -> None:
    """A few calls on what the last round left, then frozen again.

    A cell that slept while another one worked finds its code and pages out of the caches: without this the side whose
    get_inputs() had just run looked 1.7 times as fast as its equal, at 16 us a call. A round of few calls gets none.
    """
    few = min(_ROUSING_CALLS, calls // 8)
    cell.request({"type": "run", "calls": few, "seed": seed}, "done", phase=Phase.MEASURE, deadline=deadline)
    cell.freeze()
    cell.require_silence()


def run_timed(place: SidePlace, plan: RoundPlan, seed: int, cell: Cell, *, deadline: float) -> RoundResult:
    """One timed round (measurement protocol). `cell` is the place's own, or the null candidate on the same arena.

    On return the cell is frozen. The clock runs from before the late part until after the probe.
    """
    arena = place.attached
    _rouse(cell, len(plan.order), seed, deadline)
    arena.set_order(list(plan.order))
    arena.publish(max(plan.order) + 1)
    shared = arena.shared.bytes.view(torch.int32)
    image = arena.image.view(torch.int32)
    right = image[plan.late]
    shared[plan.late] = plan.late_wrong
    cell.tell({"type": "run", "calls": len(plan.order), "seed": seed}, phase=Phase.MEASURE, deadline=deadline)
    start = time.perf_counter()
    shared[plan.late] = right
    cell.thaw()
    cell.await_answer("done", phase=Phase.MEASURE, deadline=deadline)
    seen = shared[plan.probe]
    wall_s = time.perf_counter() - start
    cell.freeze()
    cell.require_silence()
    return RoundResult(wall_s, int((seen != shared[plan.probe]).sum()))
