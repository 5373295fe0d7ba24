"""Which slots the calls of a round are on, in which order, and which graph of the cell holds them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

_WAKING_CALLS = 4
_WHOLE, _GRAPHS, _SINGLE = 0, 3, 3  # numbers of graphs: on every slot; how many take turns; of one call


@dataclass(frozen=True)
class Turn:
    """Which slots a round calls the kernel on, in order.

    - `replay`: what is timed is one launch of the CUDA graph that these calls were captured as.
    - `graph`: the graph's number in the cell. `is_new`: it has to be captured first.
    - `waking_graph`: the number of the graph whose launch wakes the cell up before; None: the same one.
    - `waking`: where calls are launched one by one, the slots of the calls that wake the cell up. They are slots that
      the last such round was on, the same for both sides, because a kernel may remember what it saw.
    """

    order: tuple[int, ...]
    replay: bool = False
    graph: int = 0
    is_new: bool = False
    waking_graph: int | None = None
    waking: tuple[int, ...] = ()

    @property
    def waking_calls(self) -> int:
        """How many calls wake the cell up."""
        if not self.replay:
            return len(self.waking)
        return len(self.order) if self.waking_graph is None else 1


def waking_calls(calls: int) -> int:
    """How many calls wake a cell up for a round of so many, launched one by one. One at least: a cell that is woken by
    none knows that few come, and warms up for those by itself, which others do not."""
    return max(1, min(_WAKING_CALLS, calls // 8))


class RoundTurns:
    """Draws turns from `random`, after `begin`. `replay`: rounds are launches of graphs. Capturing takes longer than
    the calls do, so graphs are kept: only the content has to be fresh in every round.

    The slots of a round are neighbours, in any order. So all that the judge writes and reads in a round depends on how
    many calls it has, and a null round of as many has exactly that in it.

    The slot with which cells are woken is part of every graph. It gets fresh content with every round, which the
    round's calls have seen by then.
    """

    def __init__(self, random: torch.Generator) -> None:
        self.replay = False
        self._random = random
        self._slots = 0
        self._waking = 0
        self._kept: dict[int, Turn] = {}
        self._last: tuple[int, ...] = ()

    def begin(self, slots: int) -> None:
        """Turns on so many slots from now on. Graph 0, on all of them, is captured by whoever begins."""
        self._slots = slots
        self._waking = self._drawn(0, slots)
        self._kept = {_WHOLE: Turn(self._order(slots), replay=True, graph=_WHOLE)}
        self._last = self.first.order

    @property
    def first(self) -> Turn:
        """A launch of graph 0."""
        return self._kept[_WHOLE]

    @property
    def captured(self) -> list[int]:
        """The order of graph 0."""
        return list(self.first.order)

    def few(self, calls: int) -> Turn:
        """Calls one by one, on slots drawn for this round alone."""
        waking = [self._last[place] for place in self._permuted(len(self._last))[: waking_calls(calls)]]
        self._last = self._order(calls)
        return Turn(self._last, waking=tuple(waking))

    def usual(self) -> Turn:
        """Of a round that counts: half of the slots or more; a few graphs take turns, of different lengths and each of
        its own order."""
        calls = self._drawn((self._slots + 1) // 2, self._slots + 1)
        return self._graph(self._drawn(0, _GRAPHS), calls) if self.replay else self.few(calls)

    def single(self) -> Turn:
        """Of a round of one call. From then on that graph wakes cells up: it must be captured before the next turn."""
        return self._graph(_SINGLE, 1) if self.replay else self.few(1)

    def whole(self) -> Turn:
        """Of a round on every slot."""
        return self._graph(_WHOLE, self._slots) if self.replay else self.few(self._slots)

    def _graph(self, number: int, calls: int) -> Turn:
        """A launch of graph `number`, of `calls` calls if it has not been captured yet."""
        turn = self._kept.get(number) or Turn(self._order(calls, self._waking), True, number, is_new=True)
        self._kept[number] = replace(turn, is_new=False)
        is_there = _SINGLE in self._kept and not turn.is_new
        return replace(turn, waking_graph=_SINGLE) if is_there else turn

    def _order(self, calls: int, one: int | None = None) -> tuple[int, ...]:
        """So many neighbours, `one` among them."""
        first, last = 0, self._slots - calls
        if one is not None:
            first, last = max(first, one - calls + 1), min(last, one)
        start = self._drawn(first, last + 1)
        return tuple(start + place for place in self._permuted(calls))

    def _permuted(self, count: int) -> list[int]:
        return [int(number) for number in torch.randperm(count, generator=self._random)]

    def _drawn(self, first: int, beyond: int) -> int:
        return int(torch.randint(first, beyond, (1,), generator=self._random))
