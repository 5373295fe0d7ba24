"""Talking to one cell: one request, one answer, one deadline, and a verdict for every way to end.

Theory of operation: the judge is single-threaded. While it waits for an answer it also drains the cell's stdout and
stderr, so a cell can neither fill a pipe to stall itself nor fill memory to hurt the judge. Whatever a cell answers
is data about itself only.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
from contextlib import suppress
from dataclasses import dataclass, field

from daemon.errors import HarnessError
from daemon.evaluation import Failure
from daemon.executor import protocol
from daemon.executor.capture import Capture, printable
from daemon.executor.cell_settings import CellSettings
from daemon.executor.programs import Ended, Program, RunsOnError
from daemon.verdict import Phase, Side, Verdict

_CHUNK = 1 << 18
_LEAVING_STEP_S = 0.05
_STEP_S = 0.25
_STALL_S = 0.5  # a busy host lets a process wait for less
_ABOUT_S = 0.5
_ALL_KILLED = "everything it had started was killed"
WHY_KILLED = "the log of the kernel may say why, want of memory for one: dmesg"
_NOT_FOR_A_CELL_TO_SAY = frozenset({Verdict.PASSED, Verdict.HARNESS_ERROR, Verdict.REJECTED})
_BEFORE_A_CALL = frozenset({Phase.BUILD, Phase.LOAD})


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


class Cell:
    """One cell: request and answer, captured output, freeze and thaw, and how it ended."""

    def __init__(self, program: Program, channel: socket.socket, side: Side, settings: CellSettings) -> None:
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
        channel.setblocking(False)
        # Not epoll: what it watches is counted for the user, who may be a cell's as well, and be used up by one.
        self._selector = selectors.PollSelector()
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
        said = self.stderr.text()[-2000:] or "it said nothing"
        hint = "raise sandbox.memory_bytes: it was killed for want of memory" if ended.oom_killed else "evald doctor"
        return HarnessError(f"a cell did not start ({how}): {said}", hint=hint)

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
        try:
            self._send(message, fds, deadline)
        except TimeoutError as error:
            raise self._too_slow(phase) from error
        except (protocol.ClosedError, BrokenPipeError, ConnectionResetError) as error:
            raise self._died(phase) from error
        except OSError as error:
            if self.ended is not None:
                raise self._died(phase) from error
            # Too many descriptors on their way, say: of this user, not of this cell.
            raise HarnessError(f"a cell cannot be told anything: {error}") from error

    def _send(self, message: protocol.Message, fds: tuple[int, ...], deadline: float) -> None:
        """Waits until `deadline`, as nothing else does at the channel: a cell can make it look as if there were
        something to read."""
        self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            protocol.send(self._channel, message, fds)
        finally:
            self._channel.setblocking(False)

    def require_silence(self) -> None:
        """While the cell is frozen: nothing may lie in the channel, for every request had its one answer.

        A "done" sent ahead of time would otherwise be taken for the next round's.
        """
        try:
            self._drain(0)
        except protocol.ProtocolError as error:
            raise self._meddled(self._phase, str(error)) from error
        except protocol.ClosedError:
            pass  # the next request will find that
        if self._reader.pending:
            raise self._meddled(self._phase, f"{self._reader.pending} bytes came unasked")

    def _meddled(self, phase: Phase, what: str) -> CellFailed:
        self.kill()
        return self._failed(Verdict.INTEGRITY_VIOLATION, phase, f"wrote into the judge's channel: {what}")

    def _too_slow(self, phase: Phase) -> CellFailed:
        ended = self._require_own_end()
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
            raise self._meddled(phase, str(error)) from error
        if answer["type"] == "failed":
            raise self._reported(answer, phase)
        if answer["type"] != expected:
            raise self._meddled(phase, f"{answer['type'][:80]!r} came unasked")
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
        ended = self._require_own_end()
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
            self._hear_out(0.01)
        ended = self._require_own_end()
        if ended.oom_killed:
            return self._failed(Verdict.OUT_OF_MEMORY, phase, "killed for want of memory")
        if ended.signal == "SIGXFSZ":
            limit_mib = self._settings.limits.file_bytes >> 20
            return self._failed(
                Verdict.RUNTIME_ERROR, phase, f"killed: wrote a file beyond the {limit_mib} MiB it may have"
            )
        how = f"was killed by {ended.signal}" if ended.signal else f"ended with exit code {ended.exit_code}"
        return self._failed(Verdict.RUNTIME_ERROR, phase, f"the process {how} before it had answered")

    def _require_own_end(self) -> Ended:
        """Kill it. Raises `HarnessError` when something else had done so: that says nothing about the kernel in it."""
        ended = self.kill()
        if ended.from_outside:
            raise HarnessError(
                "a cell was killed from outside, or what it was forked from",
                hint=WHY_KILLED,
            )
        return ended

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
        """Take what is there: output into the captures, channel bytes into the reader. Raises `ClosedError`, and
        `ProtocolError` for a channel that cannot be read although something is there: an urgent byte."""
        heard: bytes | None = b"-"  # as long as nobody has looked
        for key, _ in self._selector.select(wait_s):
            if key.data is None:
                heard = self._read_channel()
                self._reader.feed(heard or b"")
            else:
                self._read_output(key.fd, key.data)
        if not heard:
            self._selector.unregister(self._channel)
            if heard is None:
                raise protocol.ProtocolError("something came out of band")
            raise protocol.ClosedError("the cell closed its end")

    def _hear_out(self, wait_s: float) -> None:
        """Take its output. Nobody reads any more what it has to say, and that must not fill us."""
        with suppress(protocol.ClosedError, protocol.ProtocolError):
            self._drain(wait_s)
        self._reader = protocol.Reader(protocol.MAX_FROM_CELL)

    def _read_channel(self) -> bytes | None:
        """Empty at its end; None where nothing can be read."""
        try:
            return self._channel.recv(protocol.AT_ONCE)
        except ConnectionResetError:
            return b""
        except BlockingIOError:
            return None

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
        """Stop everything in the cell where it stands. When it does not stop it is killed: raises `CellFailed`, or
        `HarnessError` where the kernel of this host keeps it."""
        try:
            self.program.freeze()
        except HarnessError:
            self.kill()
            raise
        except RunsOnError as error:
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
            self._hear_out(_LEAVING_STEP_S)
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
