"""Which tools can be used on a device, and in words why not. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from daemon.contract import Check
from daemon.errors import HarnessError
from daemon.executor.cells.starting import Tool
from daemon.executor.host.devices import Device
from daemon.executor.tools import ncu, sanitizer
from daemon.executor.tools.installed import find, folders
from daemon.executor.tools.ncu_report import MAX_REPORT_BYTES

_NO_GPU = "that takes an NVIDIA GPU, and this host judges on the CPU"
_REPORT_FILE = "evald-report"


class Unavailable(Exception):  # noqa: N818 - a state of the host; the text says which
    """The tool cannot be used here."""


@dataclass
class Toolbox:
    """The tools of one judge. `known`: the metrics that ncu has for the device, asked once."""

    device: Device
    ncu_path: Path | None = None
    sanitizer_path: Path | None = None
    known: frozenset[str] | None = None

    @classmethod
    def of(cls, device: Device) -> Toolbox:
        """What is installed here, for a GPU."""
        if not device.is_gpu:
            return cls(device)
        return cls(device, find("ncu"), find("compute-sanitizer"))

    def counters(self, sections: tuple[str, ...]) -> tuple[Tool, ncu.Plan]:
        """ncu for `sections`. Raises `Unavailable`."""
        if self.ncu_path is None:
            raise Unavailable(self._why("ncu (Nsight Compute)"))
        if ncu.driver_restricts():
            raise Unavailable(f"{ncu.FORBIDDEN}; evald doctor has the line to type")
        try:
            self.known = self.known or ncu.known(str(self.ncu_path), self.device)
        except HarnessError as error:
            raise Unavailable(error.message) from error
        plan = ncu.plan(sections, self.known)
        return self._tool(self.ncu_path, ncu.command(str(self.ncu_path), plan, _REPORT_FILE), ncu.ENVIRONMENT), plan

    def check(self, check: Check) -> Tool:
        """compute-sanitizer for `check`. Raises `Unavailable`."""
        if self.sanitizer_path is None:
            raise Unavailable(self._why("compute-sanitizer"))
        command = sanitizer.command(str(self.sanitizer_path), check, _REPORT_FILE)
        return self._tool(self.sanitizer_path, command, sanitizer.ENVIRONMENT)

    def _why(self, name: str) -> str:
        return f"{name} is not installed on this host" if self.device.is_gpu else _NO_GPU

    def _tool(self, program: Path, command: list[str], environment: dict[str, str]) -> Tool:
        return Tool(tuple(command), folders(program), environment, _REPORT_FILE, MAX_REPORT_BYTES)
