"""Starting cells and talking to them: one request, one answer, one deadline, and a verdict for every way to end.

Theory of operation: the judge is single-threaded. While it waits for an answer it also drains the cell's stdout and
stderr, so a cell can neither fill a pipe to stall itself nor fill memory to hurt the judge. Whatever a cell answers
is data about itself only.
"""

from __future__ import annotations

import itertools
import json
import os
import selectors
import socket
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from daemon.config import Settings
from daemon.errors import HarnessError
from daemon.evaluation import Failure
from daemon.executor import protocol
from daemon.executor.capture import Capture, printable
from daemon.executor.devices import Device
from daemon.executor.sandbox import cgroup
from daemon.executor.sandbox.policy import (
    UIDS_PER_SLOT,
    CellLimits,
    Policy,
    cell_environment,
    gpu_environment,
    gpu_folders,
    readable_folders,
)
from daemon.executor.supervise import Ended, ForkedProgram, PlainProgram, start_plain
from daemon.executor.zygotes import Birth, ZygoteEnded, Zygotes
from daemon.verdict import Phase, Side, Verdict

_CHUNK = 1 << 18
_ADDRESS_OVERHEAD = 4 << 30  # torch maps this much before it holds anything
_LEAVING_STEP_S = 0.05
_STEP_S = 0.25
_STALL_S = 0.5  # a busy host lets a process wait for less
_NUMBERS = itertools.count()  # one count per process: it names cgroups
_BIRTHS: defaultdict[int, itertools.count[int]] = defaultdict(itertools.count)  # by `uid_step`


class CellFailed(Exception):  # noqa: N818 - an outcome, not an error
    """The kernel in a cell ended the evaluation: verdict, message, evidence. `who` did it is added by the judge.
    `final`: a compiler's word, which no limit of the cell had a part in."""

    def __init__(self, verdict: Verdict, failure: Failure, *, final: bool = False) -> None:
        super().__init__(failure.message)
        self.final = final
        self.verdict = verdict
        self.failure = failure


class TooSlow(CellFailed):
    """It did not answer in time. `rest`: what there is to say whichever limit that was."""

    def __init__(self, failure: Failure, rest: str) -> None:
        super().__init__(Verdict.TIMEOUT, failure)
        self._rest = rest

    def because(self, reason: str) -> CellFailed:
        """The same of another limit than the one of all that the cell is asked."""
        return CellFailed(self.verdict, self.failure.model_copy(update={"message": f"{reason}; {self._rest}"}))


@dataclass(frozen=True)
class TimeLimit:
    """Seconds, what sets them, in words, and since when they run (monotonic)."""

    seconds: float
    setting: str
    since_s: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.since_s + self.seconds - _ABOUT_S


@dataclass(frozen=True)
class Tool:
    """A program that runs the cell as its child, inside the same walls: its part of the command line, the folders it
    is read from, what it needs in the environment, and the name of the file it leaves its report in: a word of the
    command that is this name becomes a path in the cell's /tmp."""

    command: tuple[str, ...]
    folders: tuple[Path, ...]
    environment: dict[str, str]
    report_file: str
    report_bytes: int


@dataclass(frozen=True)
class CellSettings:
    """What every cell of one judge has in common."""

    isolation: str
    limits: CellLimits
    uid_base: int
    uid_step: int
    slot: int
    threads: int
    device: Device
    sees_device: bool
    backend_paths: tuple[Path, ...]
    output_keep_bytes: int
    start_s: float
    shelf: Path | None = None  # of precompiled headers, for cells that build
    jobs: int | None = None  # compilers at a time; None: as many as threads

    @classmethod
    def of(
        cls, settings: Settings, device: Device, *, uid_step: int, slot: int, threads: int, sees_device: bool = True
    ) -> CellSettings:
        """What `settings` say about cells; `uid_step` keeps the cells of one slot apart. Without `sees_device` they
        build for `device` and cannot use it."""
        sandbox = settings.sandbox
        limits = CellLimits(
            memory_bytes=sandbox.gpu_memory_bytes if device.is_gpu else sandbox.memory_bytes,
            processes=sandbox.processes,
            open_files=sandbox.open_files,
            file_bytes=sandbox.file_bytes,
            tmp_bytes=sandbox.tmp_bytes,
            tmp_inodes=sandbox.tmp_inodes,
            cpu_cores=sandbox.cpu_cores,
        )
        return cls(
            isolation=settings.isolation,
            limits=limits,
            uid_base=sandbox.uid_base,
            uid_step=uid_step,
            slot=slot,
            threads=threads,
            device=device,
            sees_device=sees_device,
            backend_paths=settings.backend_paths,
            output_keep_bytes=sandbox.output_keep_bytes,
            start_s=settings.deadlines.start_s,
        )


def pool_threads(settings: Settings) -> int:
    """Threads of a cell's pool: one core fewer than there are, unless the settings say otherwise.

    A pool as wide as the machine waits, at every parallel region, for the one thread that shares its core with the
    judge or with anything else: on two busy cores a copy of 1 MB took 6 ms with two threads and 0.15 ms with one.
    """
    available = len(os.sched_getaffinity(0))
    wanted = settings.sandbox.cpu_cores
    return max(1, min(available, int(wanted)) if wanted else available - 1)


class Cells:
    """Starts cells. `groups` is None where no cgroup is writable: rlimits alone hold the cell then. With a `tool`, the
    cell runs below it, and its report goes to the descriptor `report_fd` when it has ended."""

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

    def _start_program(self, channel_fd: int) -> ForkedProgram | PlainProgram:
        settings = self.settings
        if settings.isolation == "none":
            return self._start_plain(channel_fd)
        with self._zygotes.lock:
            try:
                return self._fork(channel_fd)
            except ZygoteEnded:  # killed for want of memory, say: the next one is fresh
                return self._fork(channel_fd)

    def _fork(self, channel_fd: int) -> ForkedProgram:
        settings = self.settings
        zygote = self._zygotes.of(self._policy(), settings.start_s)
        zygote.await_ready()
        walls = self._walls(settings.limits)
        first_uid = settings.uid_base + settings.uid_step + UIDS_PER_SLOT * settings.slot
        birth = Birth(
            uid=first_uid + next(_BIRTHS[settings.uid_step]) % UIDS_PER_SLOT,
            walls=walls,
            group=self._group(next(_NUMBERS)),
            timeout_s=settings.start_s,
            plan=None if self._tool is None else self._plan(walls),
            report_fd=self._report_fd,
        )
        return zygote.fork(birth, channel_fd)

    def _start_plain(self, channel_fd: int) -> PlainProgram:
        walls, python = self._walls(None), [sys.executable, "-I", "-B"]
        if self._tool is None:
            program = [*python, "-X", "faulthandler", "-m", "daemon.executor.cell", str(channel_fd), json.dumps(walls)]
            return start_plain(program, self._environment(), keep_fds=(channel_fd,))
        plan = self._plan(walls) | {"channel": channel_fd, "report": self._report_fd}
        program = [*python, "-m", "daemon.executor.under_tool", json.dumps(plan)]
        return start_plain(program, self._environment(), keep_fds=(channel_fd, self._report_fd))

    def _policy(self) -> Policy:
        settings = self.settings
        folders = (*(gpu_folders() if self._uses_gpu else ()), *(self._tool.folders if self._tool else ()))
        return Policy(
            uid_base=settings.uid_base,
            read_only=readable_folders((*settings.backend_paths, *folders, *self._shelves)),
            environment=self._environment(),
            limits=settings.limits,
            device_nodes=settings.device.nodes if self._uses_gpu else (),
        )

    def _plan(self, walls: Mapping[str, object]) -> dict[str, object]:
        """How to run the tool with the cell below it: the walls are put up before the tool then."""
        assert self._tool is not None
        inside = {key: value for key, value in walls.items() if key != "limits"} | {"under_tool": True}
        cell = [sys.executable, "-I", "-B", "-X", "faulthandler", "-m", "daemon.executor.cell", protocol.CHANNEL]
        return {
            "limits": walls.get("limits"),
            "report_file": self._tool.report_file,
            "report_bytes": self._tool.report_bytes,
            "command": [*self._tool.command, *cell, json.dumps(inside)],
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
        environment = cell_environment(threads=self.settings.threads, interpret=not device.is_gpu)
        if device.is_gpu:
            environment |= gpu_environment(device.uuid if self._uses_gpu else None, device.architecture)
        if self.settings.jobs is not None:
            environment["MAX_JOBS"] = str(self.settings.jobs)
        for shelf in self._shelves:
            environment["PATH"] = f"{shelf / 'bin'}:{environment['PATH']}"
        return environment | (self._tool.environment if self._tool is not None else {})

    def _group(self, number: int) -> cgroup.CellGroup | None:
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
            "backend_paths": [str(path) for path in self.settings.backend_paths],
        }
        if limits is None:
            return walls
        missing = ("memory", "pids") if self._groups is None else self._groups.missing
        rlimits = {
            # Behind the group's limit where there is one: the group counts what it refused, an rlimit does not.
            "processes": limits.processes if "pids" in missing else 2 * limits.processes,
            "open_files": limits.open_files,
            "file_bytes": limits.file_bytes,
            "cpu_s": limits.cpu_s,
            "background": int(limits.background),
        }
        if "memory" in missing and not self._uses_gpu:  # CUDA reserves more addresses than any machine has memory
            rlimits["address_bytes"] = limits.memory_bytes + _ADDRESS_OVERHEAD
        return walls | {"limits": rlimits}


_ABOUT_S = 0.5
_ALL_KILLED = "everything it had started was killed"
_NOT_FOR_A_CELL_TO_SAY = frozenset({Verdict.PASSED, Verdict.HARNESS_ERROR, Verdict.REJECTED})
_BEFORE_A_CALL = frozenset({Phase.BUILD, Phase.LOAD})


class Cell:
    """One cell: request and answer, captured output, freeze and thaw, and how it ended."""

    def __init__(
        self, program: ForkedProgram | PlainProgram, channel: socket.socket, side: Side, settings: CellSettings
    ) -> None:
        self.program = program
        self.side = side
        self._channel = channel
        self._settings = settings
        self._reader = protocol.Reader(protocol.MAX_FROM_CELL)
        self.stdout = Capture(settings.output_keep_bytes)
        self.stderr = Capture(settings.output_keep_bytes)
        self.versions: dict[str, str | None] = {}
        self.ended: Ended | None = None
        self.launched_at: float | None = None  # monotonic, of the last call that said so
        self.time_limit: TimeLimit | None = None  # of all that it is asked
        self._frozen = False
        self._phase = Phase.LOAD
        self._selector = selectors.DefaultSelector()
        self._selector.register(channel, selectors.EVENT_READ, None)
        self._selector.register(program.stdout_fd, selectors.EVENT_READ, self.stdout)
        self._selector.register(program.stderr_fd, selectors.EVENT_READ, self.stderr)

    def greet(self) -> None:
        """Wait until the cell has put up its walls and started its device; at once when it has been waited for.
        Raises `HarnessError`: nothing of a bundle ran yet."""
        if self.versions:
            return
        try:
            self._hear_hello(time.monotonic() + self._settings.start_s)
        except (protocol.ClosedError, protocol.ProtocolError, TimeoutError) as error:
            raise self._stillborn() from error

    def is_up(self) -> bool:
        """Whether `greet` would not have to wait. Raises `HarnessError` when it never will be."""
        if not self.versions:
            try:
                self._hear_hello(time.monotonic())
            except TimeoutError:
                return False
            except (protocol.ClosedError, protocol.ProtocolError) as error:
                raise self._stillborn() from error
        return True

    def _stillborn(self) -> HarnessError:
        ended = self.kill()
        how = ended.signal or f"exit code {ended.exit_code}"
        return HarnessError(f"a cell did not start ({how}): {self.stderr.text()[-2000:]}")

    def _hear_hello(self, deadline: float) -> None:
        hello = self._receive(deadline)
        self.versions = {key: value for key, value in hello.items() if key in ("torch", "triton", "python")}

    def request(
        self,
        message: protocol.Message,
        expected: str,
        *,
        phase: Phase,
        deadline: float,
        fds: tuple[int, ...] = (),
        launched_s: float | None = None,
    ) -> protocol.Message:
        """Send `message`, wait for the answer of type `expected` until `deadline` (monotonic). A frozen cell is
        thawed for it. With `launched_s`, a word "launched" before it leaves so many seconds at most.

        Raises `CellFailed` with the verdict for everything else: the cell's own report of a fault, silence, a crash,
        nonsense.
        """
        if self._frozen:
            self.require_silence()
            self.thaw()
        self.tell(message, phase=phase, deadline=deadline, fds=fds)
        return self.await_answer(expected, phase=phase, deadline=deadline, launched_s=launched_s)

    def tell(self, message: protocol.Message, *, phase: Phase, deadline: float, fds: tuple[int, ...] = ()) -> None:
        """Send without waiting for an answer. Raises `CellFailed` when the cell is gone or does not take it until
        `deadline`."""
        self._phase = phase
        self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            protocol.send(self._channel, message, fds)
        except TimeoutError as error:
            raise self._too_slow(phase) from error
        except (protocol.ClosedError, OSError) as error:
            raise self._died(phase) from error

    def require_silence(self) -> None:
        """While the cell is frozen: nothing may lie in the channel, for every request had its one answer.

        A "done" sent ahead of time would otherwise be taken for the next round's.
        """
        with suppress(protocol.ClosedError):
            self._drain(0)
        if self._reader.pending:
            self.kill()
            raise self._failed(
                Verdict.INTEGRITY_VIOLATION,
                self._phase,
                f"wrote into the judge's channel: {self._reader.pending} bytes came unasked",
            )

    def _too_slow(self, phase: Phase) -> CellFailed:
        ended = self.kill()
        limit = "the time limit was over"
        if self.time_limit is not None and self.time_limit.is_over:  # and not a shorter one
            limit += f", {self.time_limit.seconds:g} s ({self.time_limit.setting})"
        if ended.oom_killed:  # whoever waits for a process that the kernel killed for that may wait for ever
            return self._failed(Verdict.OUT_OF_MEMORY, phase, f"{limit}; {_ALL_KILLED}")
        failure = self._failed(Verdict.TIMEOUT, phase, f"{limit}; {_ALL_KILLED}").failure
        return TooSlow(failure, f"{_ALL_KILLED}{self._limit_hit(ended)}")

    def await_answer(
        self,
        expected: str,
        *,
        phase: Phase,
        deadline: float,
        awake: bool = False,
        launched_s: float | None = None,
    ) -> protocol.Message:
        """Wait for the answer to what was told. `awake`: without sleeping meanwhile."""
        try:
            answer = self._receive(deadline, awake=awake)
            if launched_s is not None and answer["type"] == "launched":
                answer = self._receive_launched(phase, deadline, launched_s, awake=awake)
        except TimeoutError as error:
            raise self._too_slow(phase) from error
        except protocol.ClosedError as error:
            raise self._died(phase) from error
        except protocol.ProtocolError as error:
            self.kill()
            raise self._failed(
                Verdict.INTEGRITY_VIOLATION, phase, f"wrote into the judge's channel: {error}"
            ) from error
        if answer["type"] == "failed":
            raise self._reported(answer, phase)
        if answer["type"] != expected:
            self.kill()
            raise self._failed(
                Verdict.INTEGRITY_VIOLATION,
                phase,
                f"wrote into the judge's channel: {answer['type'][:80]!r} came unasked",
            )
        return answer

    def _receive_launched(self, phase: Phase, deadline: float, launched_s: float, *, awake: bool) -> protocol.Message:
        """What comes within `launched_s` of now, when all of a call has been launched, and until `deadline`."""
        self.launched_at = time.monotonic()
        limit = self.launched_at + launched_s
        try:
            return self._receive(min(deadline, limit), awake=awake)
        except TimeoutError:
            slow = self._too_slow(phase)
            if limit >= deadline or not isinstance(slow, TooSlow):
                raise slow from None
            reason = f"the device was at work for more than {launched_s:.1f} s after all of the call had been launched"
            raise slow.because(f"{reason} (deadlines.gpu_call_s, and what the reference takes)") from None

    def _reported(self, answer: protocol.Message, phase: Phase) -> CellFailed:
        """A fault in the cell's own words. A claim can only hurt its owner: no word for "passed" is accepted."""
        try:
            verdict = Verdict(str(answer.get("verdict")))
        except ValueError:
            verdict = Verdict.RUNTIME_ERROR
        if verdict in _NOT_FOR_A_CELL_TO_SAY or (verdict is Verdict.UNSUPPORTED and phase not in _BEFORE_A_CALL):
            verdict = Verdict.RUNTIME_ERROR
        ended = self.kill()
        if ended.oom_killed:  # a compiler of its, say: what came of that is only the consequence
            verdict = Verdict.OUT_OF_MEMORY
        text = answer.get("traceback")
        message = printable(str(answer.get("message"))[:8192])
        failure = Failure(
            phase=phase,
            side=self.side,
            message=message + self._limit_hit(ended),
            traceback=printable(str(text)[:16_384]) if text else None,
        )
        undisturbed = not ended.oom_killed and not ended.processes_refused
        final = answer.get("final") is True and verdict is Verdict.COMPILE_ERROR and undisturbed
        return CellFailed(verdict, failure, final=final)

    def _died(self, phase: Phase) -> CellFailed:
        """The channel closed: say how the process ended. It may be dying still, so wait a moment before killing."""
        limit = time.monotonic() + 2.0
        while self.program.poll() is None and time.monotonic() < limit:
            with suppress(protocol.ClosedError):
                self._drain(0.01)
        ended = self.kill()
        if ended.oom_killed:
            return self._failed(Verdict.OUT_OF_MEMORY, phase, "killed for want of memory")
        if ended.signal == "SIGXFSZ":
            limit_mib = self._settings.limits.file_bytes >> 20
            return self._failed(
                Verdict.RUNTIME_ERROR, phase, f"killed: wrote a file beyond the {limit_mib} MiB it may have"
            )
        how = f"was killed by {ended.signal}" if ended.signal else f"ended with exit code {ended.exit_code}"
        return self._failed(Verdict.RUNTIME_ERROR, phase, f"the process {how} before it had answered")

    def _limit_hit(self, ended: Ended | None) -> str:
        if ended is None:
            return ""
        limits = self._settings.limits
        hit = f"; it ran into its limit of {limits.processes} processes and threads" if ended.processes_refused else ""
        return hit + (f"; it used more than the {limits.memory_bytes >> 20} MiB it may use" if ended.oom_killed else "")

    def _failed(self, verdict: Verdict, phase: Phase, message: str) -> CellFailed:
        ended = self.ended
        crash = _crash_lines(self.stderr.text()) if ended and ended.signal else None
        failure = Failure(
            phase=phase,
            side=self.side,
            message=message + self._limit_hit(ended),
            traceback=crash,
            exit_code=ended.exit_code if ended else None,
            signal=ended.signal if ended else None,
        )
        return CellFailed(verdict, failure)

    def _receive(self, deadline: float, *, awake: bool = False) -> protocol.Message:
        """Raises `TimeoutError` at `deadline`, which moves on by what this process itself did not run meanwhile: a
        host that was paused is no kernel's fault. What has come by then counts as in time."""
        before, is_late = time.monotonic(), False
        while (message := self._reader.next()) is None:
            if is_late:
                raise TimeoutError
            is_late = before >= deadline  # one last look, without waiting
            wait_s = 0.0 if awake or is_late else min(deadline - before, _STEP_S)
            self._drain(wait_s)
            now = time.monotonic()
            if (stalled_s := now - before - wait_s) > _STALL_S:
                deadline, is_late = deadline + stalled_s, False
            before = now
        return message

    def _drain(self, wait_s: float) -> None:
        """Take what is there: output into the captures, channel bytes into the reader."""
        closed = False
        for key, _ in self._selector.select(wait_s):
            if key.data is None:
                data = self._read_channel()
                closed = not data
                self._reader.feed(data)
            else:
                self._read_output(key.fd, key.data)
        if closed:
            self._selector.unregister(self._channel)
            raise protocol.ClosedError("the cell closed its end")

    def _read_channel(self) -> bytes:
        try:
            return self._channel.recv(_CHUNK)
        except ConnectionResetError:
            return b""

    def _read_output(self, fd: int, capture: Capture) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        if data:
            capture.feed(data)
        else:
            self._selector.unregister(fd)

    def freeze(self) -> None:
        """Stop everything in the cell where it stands. Raises `CellFailed` when it cannot be stopped: it is dead
        then."""
        try:
            self.program.freeze()
        except HarnessError as error:
            self.kill()
            raise self._failed(
                Verdict.INTEGRITY_VIOLATION, self._phase, "could not be stopped between two calls"
            ) from error
        self._frozen = True

    def thaw(self) -> None:
        """Let it run on."""
        self.program.thaw()
        self._frozen = False

    def leave(self, deadline: float) -> Ended | None:
        """Tell the cell that nothing more will be asked, and wait until all of it has ended by itself; None when it
        had not by `deadline` (monotonic). Kill it in any case."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        while (ended := self.program.poll()) is None and time.monotonic() < deadline:
            try:
                self._drain(_LEAVING_STEP_S)
            except protocol.ClosedError:
                continue
            if self._reader.pending:  # nobody reads any more: what it has to say must not fill us
                self._reader = protocol.Reader(protocol.MAX_FROM_CELL)
        return ended

    def strike(self) -> None:
        """Send what kills it, and do not wait yet, for a process with a GPU takes a tenth of a second to die."""
        if self.ended is None:
            self._last_output()
            self.program.strike()

    def kill(self) -> Ended:
        """Kill everything in the cell, wait until it is gone, keep its last output. Idempotent."""
        if self.ended is None:
            self._last_output()
            self._selector.close()
            self.ended = self.program.kill()
            self._channel.close()
        return self.ended

    def _last_output(self) -> None:
        """What already lies in the pipes, bounded: a flooding child may still be writing."""
        for fd, capture in ((self.program.stdout_fd, self.stdout), (self.program.stderr_fd, self.stderr)):
            for _ in range(8):
                try:
                    data = os.read(fd, _CHUNK)
                except (BlockingIOError, OSError):
                    break
                if not data:
                    break
                capture.feed(data)


def _crash_lines(stderr: str) -> str | None:
    """faulthandler's own report of where a fatal signal struck, the user's frames of it."""
    start = stderr.rfind("Fatal Python error")
    if start < 0:
        return None
    lines = [line for line in stderr[start:].splitlines() if "daemon/executor" not in line]
    return "\n".join(lines[:40])
