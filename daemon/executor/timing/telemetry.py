"""Clocks, temperature, power and trouble of one GPU, as NVML tells its judge.

An Xid is the driver's report of a GPU error (NVIDIA, "XID Errors"). Those that a kernel's own mistake brings about
say nothing about the GPU; any other has it set aside for a minute, until a fresh judge tries it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from daemon.errors import DeviceError
from daemon.executor.host.devices import Device

_BY_A_KERNEL = frozenset({13, 31, 43, 45})  # exception in a kernel, MMU fault, channel stopped, channel torn down

# NVML's clock event reasons (nvml.h) for which the hardware or the driver slows a GPU down to protect it.
_SLOWDOWNS = {0x08: "hardware", 0x20: "software, thermal", 0x40: "hardware, thermal", 0x80: "power brake"}
_POWER_CAP = 0x04


@dataclass(frozen=True)
class ClockLimits:
    """What holds the clocks down now. `slowed`: protection, in words. `capped`: the power limit, where a heavy kernel
    belongs."""

    slowed: tuple[str, ...] = ()
    capped: bool = False

    @classmethod
    def of(cls, reasons: int) -> ClockLimits:
        """From NVML's bit mask."""
        slowed = tuple(word for bit, word in _SLOWDOWNS.items() if reasons & bit)
        return cls(slowed, bool(reasons & _POWER_CAP))


class Telemetry:
    """NVML's view of `device`. Empty answers on a CPU, and for what a GPU does not tell."""

    def __init__(self, device: Device) -> None:
        self._handle: Any = None
        self._events: Any = None
        if device.is_gpu:
            self._open(device)

    def _open(self, device: Device) -> None:
        import pynvml

        try:
            pynvml.nvmlInit()
            self._handle = pynvml.nvmlDeviceGetHandleByUUID(device.uuid)
            with suppress(pynvml.NVMLError):  # not every virtual GPU reports errors
                events = pynvml.nvmlEventSetCreate()
                pynvml.nvmlDeviceRegisterEvents(self._handle, pynvml.nvmlEventTypeXidCriticalError, events)
                self._events = events
        except pynvml.NVMLError as error:
            raise DeviceError(f"NVML does not know {device.name} ({device.uuid}): {error}") from error

    def clocks(self) -> dict[str, float]:
        """SM and memory clock (MHz), temperature (degrees Celsius), power (watts), now."""
        if self._handle is None:
            return {}
        import pynvml

        asked: dict[str, Callable[[], float]] = {
            "sm_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(self._handle, pynvml.NVML_CLOCK_SM),
            "memory_mhz": lambda: pynvml.nvmlDeviceGetClockInfo(self._handle, pynvml.NVML_CLOCK_MEM),
            "temperature_c": lambda: pynvml.nvmlDeviceGetTemperature(self._handle, pynvml.NVML_TEMPERATURE_GPU),
            "power_w": lambda: pynvml.nvmlDeviceGetPowerUsage(self._handle) / 1e3,
        }
        found = {}
        for name, ask in asked.items():
            with suppress(pynvml.NVMLError):
                found[name] = float(ask())
        return found

    def clock_limits(self) -> ClockLimits:
        """What holds the clocks down now; nothing where NVML does not say."""
        if self._handle is None:
            return ClockLimits()
        import pynvml

        try:
            return ClockLimits.of(int(pynvml.nvmlDeviceGetCurrentClocksEventReasons(self._handle)))
        except pynvml.NVMLError:
            return ClockLimits()

    def with_context(self) -> frozenset[int]:
        """Pids of the processes that have a context on the GPU; empty where NVML does not say."""
        if self._handle is None:
            return frozenset()
        import pynvml

        try:
            return frozenset(one.pid for one in pynvml.nvmlDeviceGetComputeRunningProcesses(self._handle))
        except pynvml.NVMLError:
            return frozenset()

    def active_since(self, since_s: float) -> frozenset[int] | None:
        """Pids of the processes that a sample after `since_s` (seconds since the epoch) found at work; None where NVML
        does not say."""
        if self._handle is None:
            return None
        import pynvml

        try:
            samples = pynvml.nvmlDeviceGetProcessUtilization(self._handle, int(since_s * 1e6))
        except pynvml.NVMLError_NotFound:  # no samples
            return frozenset()
        except pynvml.NVMLError:
            return None
        return frozenset(sample.pid for sample in samples if sample.smUtil)

    def require_healthy(self) -> None:
        """Raises `DeviceError` when the driver has reported an error that no kernel brings about."""
        if self._events is None:
            return
        import pynvml

        while True:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError_Timeout:
                return
            except pynvml.NVMLError as error:
                raise DeviceError(f"NVML: {error}") from error
            number = int(event.eventData)
            if event.eventType == pynvml.nvmlEventTypeXidCriticalError and is_the_gpus_fault(number):
                raise DeviceError(f"the driver reports Xid {number} for this GPU", hint="dmesg | grep -i xid")


def is_the_gpus_fault(xid: int) -> bool:
    """Whether this Xid says that the GPU, its memory or its driver is sick."""
    return xid not in _BY_A_KERNEL
