"""Whether the engine can judge, and what others are told of its devices meanwhile."""

from __future__ import annotations

from dataclasses import replace

from daemon import log
from daemon.engine import DeviceState, Engine
from daemon.errors import EvaldError, HarnessError, OperatorError


class Fitness:
    """Of one engine. Asked by the threads of all slots."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._why_unfit: str | None = None
        self._complaint = log.Complaint()

    def fault(self) -> EvaldError | None:
        """Why the engine cannot judge now; None where it can. A host that is not fit leases nothing, so it uses up no
        job's attempts."""
        try:
            self._engine.ready()
        except (HarnessError, OperatorError) as error:
            self._why_unfit = f"this host cannot judge now: {error}"
            self._complaint.say(self._why_unfit)
            return error
        self._why_unfit = None
        return None

    def devices(self) -> tuple[DeviceState, ...]:
        """The devices as others are told of them: while the engine is not fit, none takes a job."""
        told, reason = self._engine.devices(), self._why_unfit
        return tuple(one if reason is None or one.reason else replace(one, reason=reason) for one in told)
