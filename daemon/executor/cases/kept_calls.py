"""Calls whose inputs and answers are kept, to be looked at when their slots hold other contents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from daemon.executor.timing.side import SidePlace

_LARGEST_CALLS_BYTES = 1 << 30


@dataclass(frozen=True)
class TimedCall:
    """One call of a timed round. `inputs`: by the number of the logical input, [1, *shape] each; `candidate`,
    `reference`: what they answered."""

    inputs: dict[int, torch.Tensor]
    candidate: list[torch.Tensor]
    reference: list[torch.Tensor]

    @classmethod
    def of(cls, candidate: SidePlace, reference: SidePlace, slot: int) -> TimedCall:
        """Copies of what is in `slot` of both. Both cells must be frozen, and the judge's contents those of the
        round."""
        arena = reference.attached
        fields = reference.wiring.inputs(arena.layout)
        inputs = {logical: arena.pristine(slot, placed)[None].clone() for logical, placed in fields}
        # The answer of a call in float64, which changes copies of its arguments.
        places = reference.wiring.returned_places
        ours, theirs = answers_of(candidate, slot), answers_of(reference, slot)
        found = cls(inputs, [ours[place] for place in places], [theirs[place] for place in places])
        arena.settle()  # the null candidate overwrites answers, and its work does not wait for ours
        return found


class CallPicker:
    """Keeps one call of all timed rounds; each round's has the same chance. None where there is no reference, or where
    calls are `too_large`."""

    def __init__(self, places: Sequence[SidePlace], random: torch.Generator) -> None:
        self._sides = None if len(places) == 1 or too_large(places) else (places[0], places[1])
        self._random = random
        self.picked: TimedCall | None = None

    def offer(self, number: int, slots: Sequence[int]) -> None:
        """Round `number`, counted from 1, is over and right. When measuring begins anew, so does the count."""
        if self._sides is None or self._draw(number) > 0:
            return
        self.picked = None  # its memory first
        self.picked = TimedCall.of(*self._sides, slots[self._draw(len(slots))])

    def _draw(self, limit: int) -> int:
        return int(torch.randint(limit, (), generator=self._random))


def too_large(places: Sequence[SidePlace]) -> bool:
    """Whether copies of a call's tensors are more than one wants to hold."""
    return sum(place.wiring.layout(1).footprint_bytes for place in places) > _LARGEST_CALLS_BYTES


def answers_of(place: SidePlace, slot: int = 0) -> list[torch.Tensor]:
    """Copies of the answer in `slot`."""
    return [tensor.clone() for _, tensor in place.answers(slot)]
