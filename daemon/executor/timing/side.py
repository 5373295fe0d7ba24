"""One kernel of a case as the judge handles it: its cell, its wiring, its arena."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.patience import Patience
from daemon.executor.content.arena import Arena
from daemon.executor.content.memory import SharedMemory, share
from daemon.executor.content.wiring import Wiring
from daemon.executor.shared.layout import Field
from daemon.executor.shared.protocol import Message
from daemon.verdict import Phase


class SidePlace:
    """Cell, wiring and arena together. `attach` may be called again with more slots."""

    def __init__(self, cell: Cell, wiring: Wiring, device: str, patience: Patience) -> None:
        self.cell = cell
        self.wiring = wiring
        self._device = device
        self._shared: SharedMemory | None = None
        self.arena: Arena | None = None
        self.patience = patience

    def attach(self, slots: int, *, phase: Phase, deadline: float) -> Arena:
        """An arena of `slots` slots, mapped by the cell: in the memory there is, where that is large enough."""
        layout = self.wiring.layout(slots)
        self.arena = None
        previous = self._shared
        if previous is None or previous.bytes.numel() < layout.total_bytes:
            self._shared = share(self._device, layout.total_bytes)
        assert self._shared is not None
        try:
            self.arena = Arena(layout, self._shared)
            is_new = self._shared is not previous
            attach(self.cell, self.wiring, self.arena, phase=phase, deadline=deadline, is_new=is_new)
        finally:
            if previous is not None and previous is not self._shared:
                previous.close()
        return self.arena

    def answers(self, slot: int) -> list[tuple[str, torch.Tensor]]:
        """The answer of one slot by name, as the cell left it. The cell must be frozen or dead while they are used."""
        arena = self.attached
        fields = arena.layout.fields
        return [
            (name, arena.output(slot, fields[index]))
            for index, name in zip(self.wiring.answer, self.wiring.names, strict=True)
        ]

    def fill(self, slots: list[int], values: Sequence[torch.Tensor] | Mapping[int, torch.Tensor]) -> None:
        """Write logical inputs by their number, [slots, *shape] each, into the image of these slots."""
        for logical, placed in self.wiring.inputs(self.attached.layout):
            self.attached.place(slots, placed, values[logical])

    def hand_over(self, slots: list[int]) -> None:
        """Give the frozen cell the contents of these slots, for its next calls."""
        self.cell.freeze()
        self.cell.require_silence()
        self.attached.publish(slots)
        self.attached.settle()

    @property
    def attached(self) -> Arena:
        if self.arena is None:
            raise RuntimeError("no arena yet")
        return self.arena

    def answer_fields(self) -> list[Field]:
        """The fields of the answer."""
        return [self.attached.layout.fields[index] for index in self.wiring.answer]

    def close(self) -> None:
        """Let go of the memory. The cell must be dead: on a GPU, memory that is mapped elsewhere may not be freed."""
        self.arena = None
        if self._shared is not None:
            self._shared.close()
            self._shared = None


def attach(
    cell: Cell,
    wiring: Wiring,
    arena: Arena,
    *,
    phase: Phase,
    deadline: float,
    number: int = 0,
    is_new: bool = True,
    is_null: bool = False,
) -> None:
    """Tell `cell` to map `arena`, and leave it frozen. `number`: what the null candidate, which maps several, calls it.

    Not `is_new`: the memory is the one it has mapped already. `is_null`: it gets the tensors of answers and nothing
    else. How arguments and answers are nested is a bundle's own word: what it takes to hand a hundred thousand numbers
    over would be subtracted from a kernel that does not.
    """
    message = attach_message(wiring, arena) | {"arena": number}
    if is_null:
        count = len(wiring.returned)
        message |= {"args": {"u": []}, "output_args": [], "structure": "*" if count == 1 else ["*"] * count}
    if not is_new:
        message["memory"] = None
    cell.request(message, "attached", phase=phase, deadline=deadline, fds=arena.shared.fds if is_new else ())
    cell.freeze()


def attach_message(wiring: Wiring, arena: Arena) -> Message:
    """How a cell finds its arguments in `arena`."""
    layout = arena.layout
    fields = [
        {"dtype": field.tensor.dtype, "shape": list(field.tensor.shape), "offset": field.offset}
        for field in layout.fields
    ]
    return {
        "type": "attach",
        "slots": layout.slots,
        "stride": layout.stride,
        "fields": fields,
        "args": wiring.args,
        "outputs": list(wiring.returned),
        "output_args": list(wiring.output_args),
        "names": [wiring.names[place] for place in wiring.returned_places],
        "returns": wiring.returns,
        "structure": wiring.structure,
        "blank": [index for index, field in enumerate(layout.fields) if field.poisoned],
        "memory": arena.shared.as_message(),
    }


def detach(cell: Cell, *, phase: Phase, deadline: float) -> None:
    """Tell `cell` to unmap what it has mapped: another one's memory is about to be freed under it."""
    cell.request({"type": "detach"}, "detached", phase=phase, deadline=deadline)
    cell.freeze()
