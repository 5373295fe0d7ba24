"""The daemon's end of a trusted process: judges and builders are started and spoken to in the same way."""

from __future__ import annotations

import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

from daemon import log
from daemon.config import Settings
from daemon.errors import DeviceError, HarnessError, OperatorError
from daemon.executor.host import scratch
from daemon.executor.host.devices import Device
from daemon.executor.host.processes import PlainProgram
from daemon.executor.host.supervise import start_judge
from daemon.executor.sandbox import cgroup
from daemon.executor.shared import protocol

_START_LIMIT_S = 120.0
_END_S = 1.0  # from the end of its channel to its own
_MAX_ANSWER = 64 * 1024 * 1024
_LIMITS_KILL_WITH = ("SIGKILL", "SIGXCPU")
_DOCTOR = "evald doctor"
_WHY_KILLED = "dmesg tells whether for want of memory, ulimit -t how many seconds of a processor a process may have"


class TrustedProcess:
    """One process of ours that runs `module`, number `number` of its kind, for `device`. `gpu`: the UUID of the GPU
    that it may use itself. `further`: what else it is told. To be started from a thread that outlives it."""

    def __init__(
        self,
        module: str,
        settings: Settings,
        number: int,
        device: Device,
        *,
        gpu: str | None,
        further: Sequence[str] = (),
    ) -> None:
        ours, theirs = socket.socketpair()
        argv = [sys.executable, "-I", "-m", "daemon.executor.programs.start", module]
        told = settings.model_copy(update={"database": None})  # an argv is public, a database URL holds a password
        argv += [str(theirs.fileno()), told.model_dump_json(), str(number), device.as_json(), *further]
        self._what = module.rpartition(".")[2]
        try:
            self.program: PlainProgram = start_judge(argv, gpu=gpu, keep_fds=(theirs.fileno(),))
        except OSError as error:
            ours.close()
            raise HarnessError(f"cannot start a {self._what}: {error}") from error
        finally:
            theirs.close()
        self._channel = ours
        self._reader = protocol.Reader(_MAX_ANSWER)
        self._complaint = log.Complaint()

    @property
    def is_alive(self) -> bool:
        return self.program.poll() is None

    def await_ready(self) -> None:
        """Raises `OperatorError` when it says that this host is not fit for it, `HarnessError` when it died, or says
        that the next one may be able to."""
        while (message := self.receive(_START_LIMIT_S))["type"] == "waiting":
            self._complaint.say(str(message["text"]))
        if message["type"] == "unusable":
            kind = HarnessError if message.get("passing") else OperatorError
            raise kind(str(message["message"]), hint=message.get("hint"))

    def send(self, message: protocol.Message) -> None:
        """Raises `HarnessError`."""
        try:
            protocol.send(self._channel, message)
        except (protocol.ClosedError, OSError) as error:
            raise HarnessError(f"the {self._what} is gone") from error

    def receive(self, limit_s: float) -> protocol.Message:
        """The next message. Raises `HarnessError`."""
        try:
            self._channel.settimeout(limit_s)
            return protocol.receive(self._channel, self._reader)
        except TimeoutError as error:
            raise HarnessError(f"the {self._what} said nothing for {limit_s:.0f} s") from error
        except (protocol.ClosedError, protocol.ProtocolError, OSError) as error:
            said, hint = self._how_it_ended()
            raise HarnessError(f"the {self._what} died: {said or error}", hint=hint) from error

    def _how_it_ended(self) -> tuple[str | None, str]:
        """In words, None where it lives and only speaks no more; and what to type."""
        ended = self.program.ended_within(_END_S)
        if ended is None:
            return None, _DOCTOR
        if ended.signal is None:
            return f"it ended with exit code {ended.exit_code}", _DOCTOR
        return f"it was killed by {ended.signal}", _WHY_KILLED if ended.signal in _LIMITS_KILL_WITH else _DOCTOR

    def strike(self) -> None:
        """Send the signal that kills it, and hear no more of it. `end` waits and sweeps up."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self.program.strike()

    def end(self) -> DeviceError | None:
        """Kill it, its cells, and what they leave. If it does not die, returns why there should be no other one in its
        place; raises nothing, because whoever ends one has others to end, and jobs to give back."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()
        try:
            self.program.kill()
        except HarnessError as error:
            log.story(f"a {self._what} does not end", level=40, reason=error)
            return DeviceError(f"its {self._what} does not end: {error.message}")
        try:
            if (groups := cgroup.existing()) is not None:
                groups.sweep()
            scratch.sweep()
        except (HarnessError, OSError) as error:
            log.story(f"cannot remove what a {self._what} leaves", level=30, reason=error)
        return None
