"""Starting cells: what each may see and use, below a tool or not, forked from a zygote or a plain process."""

from __future__ import annotations

import itertools
import json
import socket
import sys
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

from daemon.errors import HarnessError
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.settings import CellSettings
from daemon.executor.cells.zygotes import Birth, Zygote, ZygoteEnded, Zygotes
from daemon.executor.host.forks import ForkedProgram
from daemon.executor.host.processes import PlainProgram, Program
from daemon.executor.host.supervise import start_plain
from daemon.executor.host.toolkit import toolkit, torch_nvcc
from daemon.executor.sandbox import cgroup
from daemon.executor.sandbox.cell_group import CellGroup
from daemon.executor.sandbox.policy import (
    UIDS_PER_SLOT,
    CellLimits,
    Policy,
    cell_environment,
    gpu_environment,
    gpu_folders,
    readable_folders,
)
from daemon.executor.shared import protocol
from daemon.verdict import Side

_PYTHON = (sys.executable, "-I", "-B")
_CELL = (*_PYTHON, "-X", "faulthandler", "-m", "daemon.executor.inside.cell")
_ADDRESS_OVERHEAD = 4 << 30  # torch maps this much before it holds anything
_NUMBERS = itertools.count()  # one count per process: it names cgroups
_BIRTHS: defaultdict[int, itertools.count[int]] = defaultdict(itertools.count)  # by `uid_step`
_HOLDERS: WeakValueDictionary[int, ForkedProgram] = WeakValueDictionary()  # by uid, who had it last


@dataclass(frozen=True)
class Tool:
    """A program that runs the cell as its child, inside the same walls: its part of the command line, the folders it is
    read from, what it needs in the environment, and the name of its report. A word of the command that is this name
    becomes a path in the cell's /tmp."""

    command: tuple[str, ...]
    folders: tuple[Path, ...]
    environment: dict[str, str]
    report_file: str
    report_bytes: int


class Cells:
    """Starts cells. `groups` is None where no cgroup is writable: then rlimits alone hold the cell. With a `tool`, the
    cell runs below it, and the report goes to the descriptor `report_fd` when the tool has ended."""

    def __init__(
        self,
        settings: CellSettings,
        groups: cgroup.Cgroups | None,
        zygotes: Zygotes,
        *,
        tool: Tool | None = None,
        report_fd: int = -1,
    ) -> None:
        self.settings = settings
        self._groups = groups
        self._zygotes = zygotes
        self._tool = tool
        self._report_fd = report_fd

    def under(self, tool: Tool, report_fd: int) -> Cells:
        """The same cells, each below `tool`."""
        return Cells(self.settings, self._groups, self._zygotes, tool=tool, report_fd=report_fd)

    def having(self, settings: CellSettings) -> Cells:
        """Cells with these settings, beside the others."""
        return Cells(settings, self._groups, self._zygotes)

    def begin(self) -> None:
        """Start the zygote that these cells are forked from, without waiting for it. Raises `HarnessError`."""
        if self.settings.isolation != "none":
            with self._zygotes.lock:
                self._zygote()

    def start(self, side: Side) -> Cell:
        """A cell that has been told to start; `Cell.greet` waits until it is ready."""
        ours, theirs = socket.socketpair()
        try:
            program = self._start_program(theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Cell(program, ours, side, self.settings)

    def _start_program(self, channel_fd: int) -> Program:
        settings = self.settings
        if settings.isolation == "none":
            return self._start_plain(channel_fd)
        with self._zygotes.lock:
            try:
                return self._fork(channel_fd)
            except ZygoteEnded:  # killed for want of memory, say: the next one is fresh
                return self._fork(channel_fd)

    def _fork(self, channel_fd: int) -> ForkedProgram:
        settings, zygote = self.settings, self._zygote()
        zygote.await_ready()
        walls = self._walls(settings.limits)
        birth = Birth(
            uid=self._free_uid(),
            walls=walls,
            group=self._group(next(_NUMBERS)),
            timeout_s=settings.start_s,
            plan=None if self._tool is None else self._plan(walls),
            report_fd=self._report_fd,
        )
        program = _HOLDERS[birth.uid] = zygote.fork(birth, channel_fd)
        return program

    def _free_uid(self) -> int:
        """The next of this slot's that no living cell has. Spares live longer than others that are started meanwhile,
        one for each tool."""
        first = self.settings.uid_base + self.settings.uid_step + UIDS_PER_SLOT * self.settings.slot
        for _ in range(UIDS_PER_SLOT):
            uid = first + next(_BIRTHS[self.settings.uid_step]) % UIDS_PER_SLOT
            if (holder := _HOLDERS.get(uid)) is None or holder.is_over:
                break
        return uid

    def _zygote(self) -> Zygote:
        return self._zygotes.of(self._policy(), self.settings.start_s)

    def _start_plain(self, channel_fd: int) -> PlainProgram:
        walls = self._walls(None)
        if self._tool is None:
            program = [*_CELL, str(channel_fd), json.dumps(walls)]
            return start_plain(program, self._environment(), keep_fds=(channel_fd,))
        plan = self._plan(walls) | {"channel": channel_fd, "report": self._report_fd}
        program = [*_PYTHON, "-m", "daemon.executor.inside.under_tool", json.dumps(plan)]
        return start_plain(program, self._environment(), keep_fds=(channel_fd, self._report_fd))

    def _policy(self) -> Policy:
        settings = self.settings
        folders = (*(gpu_folders() if self._uses_gpu else ()), *(self._tool.folders if self._tool else ()))
        environment = self._environment()
        compilers = [Path(environment["CUDA_HOME"])] if "CUDA_HOME" in environment else []
        return Policy(
            uid_base=settings.uid_base,
            read_only=readable_folders((*settings.backend_paths, *compilers, *folders, *self._shelves)),
            environment=environment,
            limits=settings.limits,
            device_nodes=settings.device.nodes if self._uses_gpu else (),
        )

    def _plan(self, walls: Mapping[str, object]) -> dict[str, object]:
        """How to run the tool with the cell below it. The walls are then put up before the tool starts."""
        assert self._tool is not None
        inside = {key: value for key, value in walls.items() if key != "limits"} | {"under_tool": True}
        return {
            "limits": walls.get("limits"),
            "report_file": self._tool.report_file,
            "report_bytes": self._tool.report_bytes,
            "command": [*self._tool.command, *_CELL, protocol.CHANNEL, json.dumps(inside)],
        }

    @property
    def _shelves(self) -> tuple[Path, ...]:
        """None without a sandbox: a cell could write to it."""
        shelf = self.settings.shelf
        return () if shelf is None or self.settings.isolation == "none" else (shelf,)

    @property
    def _uses_gpu(self) -> bool:
        return self.settings.device.is_gpu and self.settings.sees_device

    def _environment(self) -> dict[str, str]:
        device = self.settings.device
        environment = cell_environment(threads=self.settings.threads, interpret=not device.is_gpu, toolkit=toolkit())
        if device.is_gpu:
            environment |= gpu_environment(device.uuid if self._uses_gpu else None, device.architecture)
        if "CUDA_HOME" in environment:  # where an extension is loaded as where it is built: torch compares commands
            environment["PYTORCH_NVCC"] = torch_nvcc(Path(environment["CUDA_HOME"]))
        if self.settings.jobs is not None:
            environment["MAX_JOBS"] = str(self.settings.jobs)
        for shelf in self._shelves:
            environment["PATH"] = f"{shelf / 'bin'}:{environment['PATH']}"
        return environment | (self._tool.environment if self._tool is not None else {})

    def _group(self, number: int) -> CellGroup | None:
        if self._groups is None:
            return None
        try:
            return self._groups.create(number, self.settings.limits)
        except OSError as error:
            raise HarnessError(f"cannot make a cgroup: {error}", hint="evald doctor") from error

    def _walls(self, limits: CellLimits | None) -> dict[str, object]:
        walls: dict[str, object] = {
            "threads": self.settings.threads,
            "device": "cuda" if self._uses_gpu else "cpu",
            "as_reference": self.settings.as_reference,
            "backend_paths": [str(path) for path in self.settings.backend_paths],
        }
        if limits is None:
            return walls
        missing = ("memory", "pids") if self._groups is None else self._groups.missing
        rlimits = {
            # Above the group's limit, if there is one: the group counts what it refused, an rlimit does not.
            "processes": limits.processes if "pids" in missing else 2 * limits.processes,
            "open_files": limits.open_files,
            "file_bytes": limits.file_bytes,
            "background": int(limits.background),
        }
        if "memory" in missing and not self._uses_gpu:  # CUDA reserves more addresses than any machine has memory
            rlimits["address_bytes"] = limits.memory_bytes + _ADDRESS_OVERHEAD
        return walls | {"limits": rlimits}
