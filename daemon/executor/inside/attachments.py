"""The arenas that a cell has mapped, and the slots on them."""

from __future__ import annotations

from contextlib import closing

from daemon.executor.inside.mapping import Apart, Mapping
from daemon.executor.inside.slots import Slots
from daemon.executor.shared.protocol import Message
from daemon.executor.source import KernelFault


class Attachments:
    """By number: the null candidate has one arena per side, every other cell number 0."""

    def __init__(self) -> None:
        self._memory: dict[int, Mapping] = {}
        self._slots: dict[int, Slots] = {}

    def attach(self, message: Message, fds: list[int]) -> None:
        """Slots as `message` describes them, on the memory that came with it; else on what is mapped already."""
        number = message["arena"]
        if message["memory"] is not None:
            self._detach(number)
            self._memory[number] = Mapping(message["memory"], fds)
        elif number in self._slots:
            self._slots.pop(number).forget()
        if number not in self._memory:
            raise KernelFault("harness_error", "no memory to attach")
        self._slots[number] = Slots(self._memory[number], message)

    def isolate(self, message: Message, fds: list[int]) -> None:
        """As `attach`, in memory of this process, with one allocation per tensor: nothing is shared any more
        afterwards. The fields in `blank` have no content."""
        self._detach(0)
        blank = {message["fields"][index]["offset"] for index in message["blank"]}
        with closing(Mapping(message["memory"], fds)) as shared:
            self._slots[0] = Slots(Apart(shared, blank), message)

    def detach_all(self) -> None:
        """Unmap what is mapped."""
        for number in list(self._memory):
            self._detach(number)

    def _detach(self, number: int) -> None:
        if number in self._slots:
            self._slots.pop(number).forget()
        if number in self._memory:
            self._memory.pop(number).close()

    def slots(self, number: int = 0) -> Slots:
        """Those of one arena. Raises `KernelFault` where none is attached."""
        if number not in self._slots:
            raise KernelFault("harness_error", "no arena is attached")
        return self._slots[number]
