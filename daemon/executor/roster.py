"""Which device slots are idle, at work, or set aside because they are sick. No torch.

Several threads take and give back; a slot is held by one of them at a time. Of the idle ones the slot given back last
is taken first: its judge was at work a moment ago.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from daemon.engine import DeviceState
from daemon.errors import HarnessError
from daemon.executor.host.devices import Device

_SICK_S = 60.0
_WAIT_S = 5.0


@dataclass(frozen=True)
class Sickness:
    """Why a slot takes no jobs, and when (monotonic) it is looked at again."""

    reason: str
    until_s: float


@dataclass(frozen=True, eq=False)
class _Wish:
    """Somebody who waits for a slot whose device suits. Two of them are never equal."""

    suits: Callable[[Device], bool]


class Roster:
    """The slots of `devices`, by number."""

    def __init__(self, devices: tuple[Device, ...]) -> None:
        self.devices = devices
        self._idle = list(reversed(range(len(devices))))
        self._queue: list[_Wish] = []  # who waits for a slot, first come first
        self._turns = 0  # how often something changed that those who wait may want to know
        self._sick: dict[int, Sickness] = {}
        self._changed = threading.Condition()

    def take(self, suits: Callable[[Device], bool], waiting: Callable[[], None] = lambda: None) -> int:
        """An idle slot whose device suits. Waits for one, behind those who came before and whom it suits as well.

        `waiting` is called before each wait, which takes a few seconds at most; what it raises ends the waiting. Raises
        `HarnessError` when all slots that suit are set aside.
        """
        wish = _Wish(suits)
        with self._changed:
            self._queue.append(wish)
        try:
            while True:
                with self._changed:
                    if (slot := self._first_for(wish)) is not None:
                        self._idle.remove(slot)
                        return slot
                    self._require_fit(suits)
                    seen = self._turns
                waiting()  # whatever it does, nobody waits for it here
                with self._changed:
                    if self._turns == seen:
                        self._changed.wait(_WAIT_S)
        finally:
            with self._changed:
                self._queue.remove(wish)
                self._tell()  # whoever was behind may be the next

    def _require_fit(self, suits: Callable[[Device], bool]) -> None:
        suiting = [slot for slot, device in enumerate(self.devices) if suits(device)]
        if all(slot in self._sick for slot in suiting):
            raise HarnessError(f"no device is fit to judge this: {self._reasons()}", hint="evald doctor")

    def _tell(self) -> None:
        self._turns += 1
        self._changed.notify_all()

    def _first_for(self, wish: _Wish) -> int | None:
        """An idle slot that nobody wants who came before."""
        before = self._queue[: self._queue.index(wish)]
        for slot in reversed(self._idle):
            device = self.devices[slot]
            if wish.suits(device) and not any(earlier.suits(device) for earlier in before):
                return slot
        return None

    def wake(self) -> None:
        """Have all who wait look again."""
        with self._changed:
            self._tell()

    def take_idle(self, prefers: Callable[[int], bool] = lambda _: False) -> int | None:
        """An idle slot, one that the caller `prefers` if there is one. None while all others are at work. Raises
        `HarnessError` when all are set aside."""
        with self._changed:
            if self._idle:
                slot = next(filter(prefers, self._idle), self._idle[-1])
                self._idle.remove(slot)
                return slot
            if len(self._sick) == len(self.devices):
                raise HarnessError(f"no device is fit to judge: {self._reasons()}", hint="evald doctor")
            return None

    def give_back(self, slot: int) -> None:
        with self._changed:
            self._idle.append(slot)
            self._tell()

    def set_aside(self, slot: int, reason: str) -> None:
        """A taken slot is sick: nobody gets it for a minute."""
        with self._changed:
            self._sick[slot] = Sickness(reason, time.monotonic() + _SICK_S)
            self._tell()

    def revive(self) -> None:
        """Make sick slots idle again whose time has come: whoever takes them finds out how they are."""
        now_s = time.monotonic()
        with self._changed:
            for slot in [slot for slot, sickness in self._sick.items() if sickness.until_s <= now_s]:
                del self._sick[slot]
                self._idle.insert(0, slot)
            self._tell()

    def states(self) -> tuple[DeviceState, ...]:
        """Every slot's device as it is now."""
        with self._changed:
            sick = {slot: sickness.reason for slot, sickness in self._sick.items()}
        return tuple(
            DeviceState(slot, device.kind, device.name, device.uuid, sick.get(slot))
            for slot, device in enumerate(self.devices)
        )

    def _reasons(self) -> str:
        return "; ".join(f"{self.devices[slot].name}: {sickness.reason}" for slot, sickness in self._sick.items())
