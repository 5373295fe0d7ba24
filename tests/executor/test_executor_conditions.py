"""What is left running on the device is its owner's, whoever's turn it is; and what the driver's clock words mean."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from daemon.errors import DeviceError
from daemon.executor.timing.conditions import UNKNOWN, GpuConditions, HostConditions, LeftRunning, Reading, Surroundings
from daemon.executor.timing.telemetry import ClockLimits
from daemon.verdict import Side, Verdict


@dataclass
class BusyUntilKilled:
    """A device that is busy until the cell of side `culprit` is dead; for ever when that is None."""

    culprit: Side | None
    dead: list[Side] = field(default_factory=list)
    stay_awake: bool = False
    foreign: int | None = None

    def cool(self) -> None: ...

    def is_idle(self, patience_s: float = 0.1) -> bool:
        return self.culprit in self.dead

    def stranger(self, since_s: float, within_s: float = 0.0) -> int | None:
        return self.foreign

    def read(self) -> Reading:
        return UNKNOWN

    def make_way(self) -> None: ...

    def step_in(self) -> None: ...


@dataclass
class Suspect:
    side: Side
    device: BusyUntilKilled

    def kill(self) -> None:
        self.device.dead.append(self.side)


def surroundings(device: BusyUntilKilled) -> Surroundings:
    return Surroundings(device, [Suspect(side, device) for side in (Side.CANDIDATE, Side.REFERENCE)])  # type: ignore[list-item]


@pytest.mark.parametrize("culprit", [Side.CANDIDATE, Side.REFERENCE])
def test_work_left_running_is_charged_to_the_cell_with_whom_it_ends(culprit: Side) -> None:
    with pytest.raises(LeftRunning) as caught:
        surroundings(BusyUntilKilled(culprit)).require_idle()
    assert caught.value.verdict is Verdict.INTEGRITY_VIOLATION
    assert caught.value.failure.side is culprit


def test_a_device_that_stays_busy_when_all_are_dead_is_nobodys_fault() -> None:
    with pytest.raises(DeviceError, match="not evald's"):
        surroundings(BusyUntilKilled(None)).require_idle()


def test_nobody_is_charged_with_what_a_process_of_others_may_have_done() -> None:
    device = BusyUntilKilled(Side.CANDIDATE, foreign=4711)
    with pytest.raises(DeviceError, match="process 4711, which is not evald's"):
        surroundings(device).require_idle()
    assert device.dead == []


def test_an_idle_device_kills_nobody() -> None:
    device = BusyUntilKilled(Side.CANDIDATE, dead=[Side.CANDIDATE])
    surroundings(device).require_idle()
    assert device.dead == [Side.CANDIDATE]


def test_on_a_cpu_nothing_is_left_running_and_no_clock_is_known() -> None:
    host = HostConditions()
    host.cool()
    assert host.is_idle()
    assert host.read() == Reading(None, None, None, None)


def test_protection_is_told_from_the_power_limit() -> None:
    assert ClockLimits.of(0x01) == ClockLimits((), capped=False)  # idle
    assert ClockLimits.of(0x04) == ClockLimits((), capped=True)
    assert ClockLimits.of(0x40 | 0x04) == ClockLimits(("hardware, thermal",), capped=True)
    assert ClockLimits.of(0x08 | 0x20 | 0x80).slowed == ("hardware", "software, thermal", "power brake")


class Probed(GpuConditions):
    """A GPU whose probes take what is said here."""

    def __init__(self, *took_s: float) -> None:
        self._idle_s = 1e-4
        self.left = list(took_s)

    def _probed(self) -> float:
        return self.left.pop(0)


SHORT, LONG = 1.1e-4, 1e-2


@pytest.mark.parametrize(
    ("took_s", "is_idle", "left"),
    [
        ([SHORT, SHORT, LONG], True, 1),
        ([LONG, SHORT, SHORT], True, 0),
        ([SHORT, LONG, SHORT], True, 0),
        ([LONG, LONG, SHORT], False, 1),
        ([LONG, SHORT, LONG], False, 0),
    ],
)
def test_most_of_three_probes_decide_and_no_more_are_sent_than_it_takes(
    took_s: list[float], is_idle: bool, left: int
) -> None:
    conditions = Probed(*took_s)
    assert conditions.is_idle(patience_s=-1.0) is is_idle
    assert len(conditions.left) == left
