"""A builder: a trusted process that compiles kernels ahead of the judges, so that no compiler runs while a device is
held for its job. It runs no user code and sees no device. What its cells built goes into the artifact cache.

Theory of operation: it is started by `workshop`, and spoken to over a socket pair, one bundle at a time. Whatever goes
wrong with a bundle is left for the judge to find again and to report: it looks into the same cache, and builds what is
missing. After each answer the builder has its next cell started, which takes some 50 ms. When nobody sends a bundle for
a moment, it makes the precompiled header that the next extension would have to wait for.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from daemon import log
from daemon.config import Settings
from daemon.contract import CompareRequest
from daemon.errors import BundleError, HarnessError
from daemon.executor import catalog
from daemon.executor.artifacts.builds import Builds
from daemon.executor.artifacts.bundle import bound, parse_folder
from daemon.executor.cells.endings import CellFailed
from daemon.executor.cells.settings import CellSettings, pool_threads
from daemon.executor.cells.starting import Cells
from daemon.executor.cells.zygotes import Zygotes
from daemon.executor.host.devices import Device
from daemon.executor.host.readable import is_readable
from daemon.executor.sandbox import cgroup
from daemon.executor.sandbox.policy import UidStep
from daemon.executor.shared import protocol
from daemon.executor.timing.cores import beside_lanes, cores_here
from daemon.verdict import Side

_A_MOMENT_S = 0.5  # the next bundle comes sooner, where one waits


class Builder:
    """Compiles for `device`; `number` among the builders of this host."""

    def __init__(self, settings: Settings, number: int, device: Device) -> None:
        groups = cgroup.find() if settings.isolation != "none" else None
        of = CellSettings.of(
            settings, device, uid_step=UidStep.BUILDER, slot=number, threads=pool_threads(settings), sees_device=False
        )
        # Beside them kernels are being timed, and what is built here is a bundle's code as well.
        of = replace(of, limits=replace(of.limits, background=True))
        cells = Cells(of, groups, Zygotes())
        self._settings = settings
        self._backends = catalog.load(settings.backend_paths)
        spare_cells = min(settings.sandbox.spare_cells, 1)
        self._builds = Builds.of(settings, device, self._backends, cells, spare_cells=spare_cells)

    def build(self, bundle_dir: Path, on_begin: Callable[[], None]) -> None:
        """Compile every kernel of every case that is compiled at all; `on_begin` is called before each. Raises
        `BundleError`, `CellFailed`, `HarnessError`."""
        parsed = parse_folder(bundle_dir, catalog.contract_types(self._backends), self._settings.limits)
        compare = isinstance(parsed.request, CompareRequest)
        for case in parsed.request.cases:
            request = bound(parsed.request, case)
            for side in (Side.REFERENCE, Side.CANDIDATE) if compare else (Side.CANDIDATE,):
                if self._builds.are_needed(request, side):
                    on_begin()
                    self._builds.artifact(request, side, bundle_dir)

    def refill(self) -> None:
        """Have the cell started that the next build will be in."""
        self._builds.cells.refill()

    def use_the_moment(self) -> None:
        """Nobody waits: make a header that is worth it, which takes half a minute."""
        self._builds.headers.prepare()


def main(argv: list[str]) -> int:
    """`argv`: the channel's descriptor, the settings as JSON, the builder's number, the device as JSON, and how many
    slots there are."""
    channel = socket.socket(fileno=int(argv[0]))
    settings = Settings.model_validate_json(argv[1])
    log.setup(settings.log_level)
    device = Device.from_json(argv[3])
    if device.is_gpu:
        _leave_lanes(int(argv[4]))
    try:
        builder = Builder(settings, int(argv[2]), device)
        protocol.send(channel, {"type": "ready"})
        serve(channel, builder)
    except protocol.ClosedError:  # the daemon is gone: nobody to tell, and the cells die with us
        return 1
    return 0


def _leave_lanes(slots: int) -> None:
    """For good, and all cells with this process, which cannot go back."""
    with suppress(OSError):  # as for the judge: times are noisier then, not wrong
        os.sched_setaffinity(0, beside_lanes(slots, cores_here()))


def serve(channel: socket.socket, builder: Builder) -> None:
    """Answer `build` messages until the daemon closes its end."""
    reader = protocol.Reader(protocol.MAX_TO_CELL)
    while True:
        message = protocol.receive(channel, reader)
        try:
            builder.build(Path(message["bundle_dir"]), lambda: protocol.send(channel, {"type": "building"}))
        except protocol.ClosedError:
            raise
        except (BundleError, CellFailed, HarnessError) as error:
            protocol.send(channel, {"type": "failed", "message": str(error)})
        except Exception as error:  # noqa: BLE001 - the builder's main: the judge will find it again
            log.LOGGER.exception("a builder failed")
            protocol.send(channel, {"type": "failed", "message": f"{type(error).__name__}: {error}"})
        else:
            protocol.send(channel, {"type": "built"})
        builder.refill()
        if not is_readable(channel, _A_MOMENT_S):
            builder.use_the_moment()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
