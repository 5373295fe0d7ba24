"""The judge: a trusted process that owns inputs, expected answers, the clock and the verdict. It runs no user code.

Theory of operation: one judge per device slot, started by `local`, spoken to over a socket pair. It serves one job at
a time and lives long, so torch is imported once: with the module `jobs`, while the zygote imports it as well. When its
parent dies the kernel kills it, and with it, through bubblewrap, its cells.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import log
from daemon.config import Settings
from daemon.errors import DeviceError, EvaldError, FoundSick, HarnessError, Hindered
from daemon.executor.cells.spares import Preloaded
from daemon.executor.host.devices import Device
from daemon.executor.host.readable import is_readable
from daemon.executor.host.reservation import Reservation
from daemon.executor.programs.confinement import Confinement
from daemon.executor.programs.start import imported
from daemon.executor.shared import protocol

if TYPE_CHECKING:
    from daemon.executor.programs.jobs import Judge

_A_MOMENT_S = 0.05  # the next bundle comes sooner, where one waits


def main(argv: list[str]) -> int:
    """`argv`: the channel's descriptor, the settings as JSON, the slot's number, its device as JSON, and how many slots
    there are."""
    try:
        return _main(argv)
    except protocol.ClosedError:  # the daemon is gone: nobody to tell, and the cells die with us
        return 1


def _main(argv: list[str]) -> int:
    channel = socket.socket(fileno=int(argv[0]))
    settings = Settings.model_validate_json(argv[1])
    log.setup(settings.log_level)
    device = Device.from_json(argv[3])
    reservation = Reservation.of(device)
    try:
        confinement = Confinement(settings, int(argv[2]), device, slots=int(argv[4]))
        confinement.begin()
        jobs = imported("daemon.executor.programs.jobs")
        reservation.acquire(lambda text: protocol.send(channel, {"type": "waiting", "text": text}))
        judge = jobs.Judge(confinement)
        judge.prove()
    except Exception as error:  # noqa: BLE001 - the judge's main: its parent must hear why it could not start
        told = (error.message, error.hint) if isinstance(error, EvaldError) else (str(error), None)
        is_passing = isinstance(error, Hindered)
        protocol.send(channel, {"type": "unusable", "message": told[0], "hint": told[1], "passing": is_passing})
        return 1
    protocol.send(channel, {"type": "ready"})
    serve(channel, judge, reservation)
    judge.close()
    return 0


def _sickness(error: HarnessError) -> str | None:
    if isinstance(error, FoundSick):
        return "before"
    return "now" if isinstance(error, DeviceError) else None


def use_the_time(channel: socket.socket, judge: Judge, reservation: Reservation) -> None:
    """Use the time until there is a message. If there is nothing to do, or somebody else waits for the GPU, it is given
    up."""
    found = Preloaded.WAITING
    while found is not Preloaded.ALL:
        has_message = is_readable(channel, _A_MOMENT_S if found is Preloaded.WAITING else 0.0)
        if reservation.is_wanted():
            break
        if has_message:
            return
        found = judge.use_the_moment()
    judge.settle()
    reservation.release()


def reserve(reservation: Reservation, progress: Callable[[str], None]) -> None:
    """Reserve the device. Raises `FoundSick` if it cannot be had: nothing of the bundle has run."""
    try:
        reservation.acquire(progress)
    except DeviceError as error:
        raise FoundSick(error.message, hint=error.hint) from error


def serve(channel: socket.socket, judge: Judge, reservation: Reservation) -> None:
    """Answer `evaluate` messages until the daemon closes its end; `reservation`: of the judge's device, held now."""
    reader = protocol.Reader(protocol.MAX_TO_CELL)

    def progress(text: str, case: str | None = None) -> None:
        protocol.send(channel, {"type": "progress", "text": text, "case": case})

    while True:
        use_the_time(channel, judge, reservation)
        try:
            message = protocol.receive(channel, reader)
        except protocol.ClosedError:
            return
        try:
            reserve(reservation, progress)
            evaluation = judge.evaluate(Path(message["bundle_dir"]), progress)
            answer = {"type": "evaluation", "evaluation": json.loads(evaluation.model_dump_json())}
        except protocol.ClosedError:
            raise
        except HarnessError as error:
            answer = {"type": "failed", "message": error.message, "hint": error.hint, "sick": _sickness(error)}
        except Exception as error:  # noqa: BLE001 - the judge's main: a bug in evald is never the bundle's fault
            log.LOGGER.exception("the judge failed")
            # torch's name for an error of CUDA; in this process, which runs no bundle's kernel, it is the device's.
            sick = "now" if type(error).__name__ == "AcceleratorError" else None
            answer = {"type": "failed", "message": f"{type(error).__name__}: {error}", "sick": sick}
        protocol.send(channel, answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
