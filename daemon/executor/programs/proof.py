"""Proof that cells work here: one writes through shared memory what the judge then reads."""

from __future__ import annotations

import time

import torch

from daemon.errors import HarnessError
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.endings import CellFailed
from daemon.executor.cells.patience import Patience
from daemon.executor.content.wiring import SideField, Wiring
from daemon.executor.shared.layout import TensorShape
from daemon.executor.timing.side import SidePlace, detach
from daemon.executor.timing.side_round import NullKernel, NullWork, run_untimed
from daemon.verdict import Phase

_LIMIT_S = 60.0
_ANSWER = Wiring(
    fields=(SideField("proof", TensorShape("int64", (1024,)), logical=None, is_output=True),),
    args={"u": []},
    answer=(0,),
    names=("proof",),
    returns=True,
)


def prove(null: Cell, device: str) -> None:
    """Have the null candidate copy its zeros into poisoned memory. Raises `HarnessError` when they do not arrive."""
    deadline = time.monotonic() + _LIMIT_S
    place = SidePlace(null, _ANSWER, device, Patience(_LIMIT_S))
    try:
        place.attach(1, phase=Phase.MEASURE, deadline=deadline)
        place.attached.compose(torch.Generator(device), [0])
        copying = NullWork(NullKernel.COPY)
        run_untimed(place, [0], 0, phase=Phase.MEASURE, deadline=deadline, null=copying)
        [(_, answer)] = place.answers(0)
        if answer.any():
            raise HarnessError("a cell's writes to shared memory do not reach the judge", hint="evald doctor")
        detach(null, phase=Phase.MEASURE, deadline=deadline)
    except CellFailed as failed:
        raise HarnessError(f"a cell cannot use shared memory here: {failed}", hint="evald doctor") from failed
    finally:
        place.close()
