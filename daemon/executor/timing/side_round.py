"""One round of one kernel: what the judge drew for it, its calls, its clock, what it left."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import torch

from daemon.executor.cells.capture import printable
from daemon.executor.cells.conversation import Cell
from daemon.executor.content import combs
from daemon.executor.content.arena import Arena
from daemon.executor.content.combs import Comb
from daemon.executor.content.memory import SampledBytes
from daemon.executor.shared.layout import Field
from daemon.executor.shared.protocol import Message, packed
from daemon.executor.timing.conditions import UNKNOWN, Reading, Surroundings
from daemon.executor.timing.round_turns import Turn
from daemon.executor.timing.side import SidePlace
from daemon.verdict import Phase

_REASON_LIMIT = 500
_LONGEST_CLAIM_S = 3600.0


@dataclass(frozen=True)
class RoundPlan:
    """A turn, and what the judge drew for it. `late`: where, in fields whose content is secret, `late_wrong` stands
    until the clock runs (bytes); `probe`: where, in fields the kernel writes, the judge looks when it is done."""

    turn: Turn
    late: tuple[Comb, ...]
    late_wrong: torch.Tensor
    probe: tuple[Comb, ...]

    @property
    def order(self) -> list[int]:
        """The slots of the round's calls."""
        return list(self.turn.order)


class NullKernel(StrEnum):
    """What the null candidate does: the bare loop over the slots (and one small kernel on a GPU); that, and the copy of
    a returned answer into each slot; or that, and the launch of the smallest kernel for each. WORK keeps a GPU busy for
    a while: it clears every answer, then idles."""

    LOOP = "loop"
    COPY = "copy"
    TOUCH = "touch"
    WORK = "work"


@dataclass(frozen=True)
class NullWork:
    """A round of the null candidate. `arena`: the number under which it has the side's memory. `cycles`: of the GPU's
    clock, to idle for. `graph`: the number of its captured graph."""

    kind: NullKernel
    arena: int = 0
    cycles: int = 0
    graph: int = 0


def plan_round(arena: Arena, secret_fields: list[Field], turn: Turn, random: torch.Generator) -> RoundPlan:
    """Draw the secret positions of one round. `secret_fields`: inputs whose content the contract does not fix."""
    layout, order = arena.layout, turn.order
    written = [field for field in layout.fields if field.writable]
    late = combs.drawn(layout, secret_fields, order, random)
    wrong = torch.randint(0, 256, (sum(comb.size_bytes for comb in late),), generator=random, dtype=torch.uint8)
    return RoundPlan(turn, late, wrong, combs.drawn(layout, written, order, random))


@dataclass(frozen=True)
class RoundResult:
    """`wall_s`: from the clock's start to the end of the probe. `probe`: the sampled bytes of outputs, `seen`: as they
    were then. `inside_s`: what the cell claims its calls took. `reading`: the device's clocks right after. `stopped_s`:
    how long after `wall_s` the cell stood still and the device was idle. `woken_s`: what waking it up took, where that
    was right before."""

    wall_s: float
    plan: RoundPlan
    probe: SampledBytes
    seen: torch.Tensor
    inside_s: float | None
    reading: Reading
    stopped_s: float
    woken_s: float | None = None

    def late_writes(self, arena: Arena) -> int:
        """How many of the sampled bytes have changed since "done". A frozen cell's GPU may still be at work, so ask
        again when everything else has been looked at."""
        arena.settle()
        self.probe.fetch()
        return int((self.probe.content != self.seen).sum())


def run_untimed(
    place: SidePlace,
    order: list[int],
    seed: int,
    *,
    phase: Phase,
    deadline: float,
    replay: bool = False,
    launched_s: float | None = None,
    null: NullWork | None = None,
) -> float:
    """One round that is not timed: publish, run, freeze. Returns roughly how many seconds it took. `replay`: a launch
    of graph 0, which has been captured.

    `launched_s`: how long a GPU may be at work once the cell has said that everything is launched. `null`: the cell is
    the null candidate's.
    """
    with place.patience.waiting(len(order), deadline) as limit:
        wall_s = _run_untimed(place, order, seed, phase, limit, replay=replay, launched_s=launched_s, null=null)
    place.patience.saw(len(order), wall_s)
    return wall_s


def _run_untimed(
    place: SidePlace,
    order: list[int],
    seed: int,
    phase: Phase,
    deadline: float,
    *,
    replay: bool,
    launched_s: float | None,
    null: NullWork | None,
) -> float:
    place.hand_over(order)
    start = time.perf_counter()
    message = _run_message(order, seed, replay=replay, null=null) | {"announce": launched_s is not None}
    place.cell.request(message, "done", phase=phase, deadline=deadline, launched_s=launched_s)
    wall_s = time.perf_counter() - start
    place.cell.freeze()
    place.cell.require_silence()
    return wall_s


def _run_message(order: Sequence[int], seed: int, *, replay: bool, null: NullWork | None, graph: int = 0) -> Message:
    """Calls on the slots of `order`; or the launch of the graph they have been captured as."""
    work, slots = _work_part(null, graph), packed(() if replay else order)
    return {"type": "run", "order": slots, "seed": seed, "replay": replay, "announce": False, **work}


def _work_part(null: NullWork | None, graph: int) -> Message:
    if null is None:
        return {"null": None, "graph": graph}
    return {"null": {"kind": null.kind, "arena": null.arena, "cycles": null.cycles}, "graph": null.graph}


def capture(
    cell: Cell,
    order: list[int],
    seed: int,
    *,
    phase: Phase,
    deadline: float,
    graph: int = 0,
    null: NullWork | None = None,
) -> str | None:
    """Have `cell` capture its calls on these slots as a CUDA graph; nothing runs yet. Returns why it could not, or
    None."""
    message = {"type": "capture", "order": order, "seed": seed, **_work_part(null, graph)}
    answer = cell.request(message, "captured", phase=phase, deadline=deadline)
    cell.freeze()
    cell.require_silence()
    reason = answer.get("reason")
    return None if reason is None else printable(str(reason)[:_REASON_LIMIT])


class NotCaptured(Exception):  # noqa: N818 - an outcome, not an error
    """A round could not be captured as a CUDA graph, although others before could; the text says why."""


def require_captured(reason: str | None) -> None:
    """Raises `NotCaptured` for what `capture` said."""
    if reason is not None:
        raise NotCaptured(reason)


def wake_up(
    cell: Cell, turn: Turn, seed: int, deadline: float, surroundings: Surroundings, null: NullWork | None = None
) -> float:
    """A few calls on what the last round left, then frozen again. `seed`: another one than the timed calls will have,
    which say with it what is random in them. Returns how long the cell took over it, seconds, until it stood still and
    the device was idle: a system call that it has begun, or a kernel that it has launched, may do much for the calls to
    come before it ends.

    A cell that slept while another one worked finds its code and pages out of the caches: without this the side whose
    get_inputs() had just run looked 1.7 times as fast as its equal, at 16 us a call.
    Where rounds are launches of graphs, a graph of one call is launched; a new one itself: its first launch uploads it.
    """
    if turn.is_new:
        phase, order = Phase.MEASURE, list(turn.order)
        require_captured(capture(cell, order, seed, phase=phase, deadline=deadline, graph=turn.graph))
    graph = turn.graph if turn.waking_graph is None else turn.waking_graph
    if null is not None:
        null = replace(null, graph=graph)
    message = _run_message(turn.waking, seed, replay=turn.replay, null=null, graph=graph)
    start = time.perf_counter()
    cell.request(message, "done", phase=Phase.MEASURE, deadline=deadline)
    cell.freeze()
    surroundings.require_idle()
    woken_s = time.perf_counter() - start
    cell.require_silence()
    return woken_s


def run_timed(
    place: SidePlace,
    plan: RoundPlan,
    seed: int,
    cell: Cell,
    surroundings: Surroundings,
    *,
    deadline: float,
    waking_seed: int | None = None,
    null: NullWork | None = None,
) -> RoundResult:
    """One timed round (measurement protocol). `cell` is the place's own, or the null candidate on the same arena. It is
    woken up before, with `waking_seed`; None: it has been.

    For the null everything is done that is done for a kernel: a cell that is frozen for longer takes longer to wake up.
    Without publishing contents nobody reads, figures of 5 to 50 us came out 2 to 7 % too high (H200).

    On return the cell is frozen. The clock runs from before the late part until after the probe.
    """
    arena, conditions = place.attached, surroundings.conditions
    late, probe = arena.shared.samples(plan.late), arena.shared.samples(plan.probe)
    probe.fetch()  # the first time takes longer
    woken_s = None
    if waking_seed is not None:
        woken_s = wake_up(cell, plan.turn, waking_seed, deadline, surroundings, null)
    else:
        surroundings.require_idle()
    arena.publish(plan.order)
    _spoil(arena, plan, late)
    conditions.cool()
    surroundings.require_idle()
    message = _run_message(plan.order, seed, replay=plan.turn.replay, null=null, graph=plan.turn.graph)
    cell.tell(message, phase=Phase.MEASURE, deadline=deadline)
    start = time.perf_counter()
    late.put()
    conditions.make_way()
    cell.thaw()
    answer = cell.await_answer("done", phase=Phase.MEASURE, deadline=deadline, awake=conditions.stay_awake)
    probe.fetch()
    wall_s = time.perf_counter() - start
    cell.freeze()
    conditions.step_in()
    surroundings.require_idle()
    stopped_s = time.perf_counter() - start - wall_s
    reading = conditions.read() if null is None else UNKNOWN
    cell.require_silence()
    return RoundResult(wall_s, plan, probe, probe.content.clone(), _claimed_s(answer), reading, stopped_s, woken_s)


def _spoil(arena: Arena, plan: RoundPlan, late: SampledBytes) -> None:
    """Put what is wrong where the late part belongs. What is right lies ready in `late` afterwards."""
    arena.settle()
    late.content.copy_(plan.late_wrong)
    late.put()
    if plan.late:
        late.content.copy_(torch.cat([comb.of(arena.image).reshape(-1) for comb in plan.late]))


def _claimed_s(answer: Message) -> float | None:
    """What the cell says its calls took. It may be any number, so it can only count against the kernel."""
    claim = answer.get("inside_s")
    return float(claim) if isinstance(claim, int | float) and 0 < claim < _LONGEST_CLAIM_S else None
