"""What `evald doctor` looks at of the devices: what is judged on, and whether a cell comes up on each of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING

from daemon.cli import figures
from daemon.cli.check import Check, Status
from daemon.cli.pip_commands import pip
from daemon.config import Settings
from daemon.errors import EvaldError
from daemon.versions import version_of

if TYPE_CHECKING:
    from daemon.executor.host.devices import Device


def all_checks(settings: Settings) -> Iterator[Check]:
    """What is judged on here, and a real cell on each of it."""
    from daemon.executor.host.devices import choose

    if settings.isolation == "none":
        message = "isolation is none: bundles run as you, with everything you may do"
        yield Check("sandbox", Status.WARN, message, 'set isolation = "bubblewrap" for any code that is not your own')
    try:
        devices = choose(settings)
    except EvaldError as error:
        yield Check("device", Status.FAIL, error.message, error.hint)
        return
    for device in dict.fromkeys(devices):
        yield _device(device)
        yield from _control(settings, device)
        yield from _cell(settings, device)
    if any(device.is_gpu for device in devices):
        yield _pycuda()
        yield _counters()
        yield _sanitizer()


def _device(device: Device) -> Check:
    if not device.is_gpu:
        return Check("device", Status.OK, "kernels are judged on the CPU")
    about = f"GPU {device.index}: {device.name}, {figures.size(device.memory_bytes)}, driver {device.driver}"
    return Check("device", Status.OK, f"{about}, CUDA {device.cuda}, {device.uuid}")


def _control(settings: Settings, device: Device) -> Iterator[Check]:
    """How fast the device is compared with itself; nothing where that is not known."""
    from daemon.executor import baseline

    path = baseline.path_of(device, settings.paths)
    known = baseline.read(path) if settings.control_interval_s else None
    if known is None:
        return
    if known.drift is not None:
        hint = f"once you know why: rm {shlex.quote(str(path))}"
        hint = f"nvidia-smi -q; {hint}" if device.is_gpu else hint
        yield Check("control", Status.WARN, str(known.drift), hint)
        return
    took = f"{figures.milliseconds(known.figures.median_ms)}, the same since {figures.clock(known.at)}"
    yield Check("control", Status.OK, f"{took}, last timed {figures.ago(known.last_at)}")


def _pycuda() -> Check:
    version = version_of("pycuda")
    if version is None:
        hint = pip("install 'evald[gpu]'")
        return Check("pycuda", Status.WARN, "not installed: cuda bundles are compiled, not run", hint)
    return Check("pycuda", Status.OK, version)


def _counters() -> Check:
    """Whether hardware counters can be taken in a cell. The driver's own word decides; nothing is profiled."""
    from daemon.executor.tools import ncu
    from daemon.executor.tools.installed import find

    program = find("ncu")
    if program is None:
        hint = "install Nsight Compute (package nsight-compute of NVIDIA's repository)"
        return Check("counters", Status.WARN, "ncu is not installed: bundles that ask for metrics get none", hint)
    restricted = ncu.driver_restricts()
    if restricted:
        return Check("counters", Status.WARN, ncu.FORBIDDEN, ncu.PERMISSION_HINT)
    allowed = "the driver lets everybody count" if restricted is False else "the driver does not say who may count"
    return Check("counters", Status.OK, f"{program}; {allowed}")


def _sanitizer() -> Check:
    from daemon.executor.tools.installed import find

    program = find("compute-sanitizer")
    if program is None:
        message = "compute-sanitizer is not installed: bundles that ask for checks are unsupported"
        return Check("sanitizer", Status.WARN, message, "install the CUDA toolkit (package cuda-sanitizer)")
    return Check("sanitizer", Status.OK, str(program))


def _cell(settings: Settings, device: Device) -> Iterator[Check]:
    from daemon.executor.smoke_test import try_cell

    try:
        cell = try_cell(settings, device)
    except EvaldError as error:
        yield Check("sandbox", Status.FAIL, error.message, error.hint)
        return
    versions = ", ".join(f"{name} {version}" for name, version in cell.versions.items() if version)
    yield Check("cell", Status.OK, f"{cell.level}, ready in {cell.start_s:.1f} s ({versions})")
    for text in cell.weaker:
        yield Check("cell", Status.WARN, f"weaker than it should be: {text}")
