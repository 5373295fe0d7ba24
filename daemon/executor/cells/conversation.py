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

from daemon.errors import HarnessError, Hindered
from daemon.executor.cells.capture import Capture
from daemon.executor.cells.endings import Ending, TimeLimit, TooSlow
from daemon.executor.cells.settings import CellSettings
from daemon.executor.host.processes import Ended, Program, RunsOnError
from daemon.executor.shared import protocol
from daemon.verdict import Phase, Side

_CHUNK = 1 << 18
_LEAVING_STEP_S = 0.05
_STEP_S = 0.25
_STALL_S = 0.5  # a busy host lets a process wait for less


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
        # Not epoll: what it watches is counted for the user, which may be a cell's too, and a cell may use it up.
        self._selector = selectors.PollSelector()
        self._selector.register(channel, selectors.EVENT_READ, None)
        self._selector.register(program.stdout_fd, selectors.EVENT_READ, self.stdout)
        self._selector.register(program.stderr_fd, selectors.EVENT_READ, self.stderr)

    def greet(self) -> None:
        """Wait until the cell has put up its walls and started its device; return at once if that was waited for
        before. Raises `HarnessError`: nothing of a bundle ran yet."""
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
        is_hindered = ended.signal == "SIGKILL" and not ended.oom_killed  # by us, where it was late
        kind = Hindered if is_hindered else HarnessError
        return kind(f"a cell did not start ({how}): {said}", hint=hint)

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
        """Send `message`, and wait for the answer of type `expected` until `deadline` (monotonic). A frozen cell is
        thawed for it. With `launched_s`, a word "launched" may come before it; then the answer has so many seconds at
        most.

        Raises `CellFailed` with the verdict for everything else: the cell's own report of a fault, silence, a crash,
        nonsense.
        """
        if self._frozen:
            self.require_silence()
            self.thaw()
        self.tell(message, phase=phase, deadline=deadline, fds=fds)
        return self.await_answer(expected, phase=phase, deadline=deadline, launched_s=launched_s)

    def tell(self, message: protocol.Message, *, phase: Phase, deadline: float, fds: tuple[int, ...] = ()) -> None:
        """Send without waiting for an answer. Raises `CellFailed` when the cell is gone, or has not taken it by
        `deadline`."""
        self._phase = phase
        try:
            self._send(message, fds, deadline)
        except TimeoutError as error:
            raise self._own_ending(phase).too_slow(self.time_limit) from error
        except (protocol.ClosedError, BrokenPipeError, ConnectionResetError) as error:
            raise self._death(phase).died() from error
        except OSError as error:
            if self.ended is not None:
                raise self._death(phase).died() from error
            # Say too many descriptors on their way: they are counted for the user, not for the cell.
            raise HarnessError(f"a cell cannot be told anything: {error}") from error

    def _send(self, message: protocol.Message, fds: tuple[int, ...], deadline: float) -> None:
        """Send, and wait until `deadline` for room. Only sending waits so at the channel: a cell can make it look as if
        there were something to read."""
        self._channel.settimeout(max(deadline - time.monotonic(), 0.001))
        try:
            protocol.send(self._channel, message, fds)
        finally:
            self._channel.setblocking(False)

    def require_silence(self) -> None:
        """While the cell is frozen, nothing may lie in the channel, because every request had its one answer.

        A "done" sent ahead of time would otherwise be taken for the next round's.
        """
        try:
            self._drain(0)
        except protocol.ProtocolError as error:
            raise self._ending(self._phase).meddled(str(error)) from error
        except protocol.ClosedError:
            pass  # the next request will find that
        if self._reader.pending:
            raise self._ending(self._phase).meddled(f"{self._reader.pending} bytes came unasked")

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
            raise self._own_ending(phase).too_slow(self.time_limit) from error
        except protocol.ClosedError as error:
            raise self._death(phase).died() from error
        except protocol.ProtocolError as error:
            raise self._ending(phase).meddled(str(error)) from error
        if answer["type"] == "failed":
            raise self._own_ending(phase).reported(answer)
        if answer["type"] != expected:
            raise self._ending(phase).meddled(f"{answer['type'][:80]!r} came unasked")
        return answer

    def _receive_launched(self, phase: Phase, deadline: float, launched_s: float, *, awake: bool) -> protocol.Message:
        """All of a call has been launched just now. What comes within `launched_s` of now, and before `deadline`."""
        self.launched_at = time.monotonic()
        limit = self.launched_at + launched_s
        try:
            return self._receive(min(deadline, limit), awake=awake)
        except TimeoutError:
            slow = self._own_ending(phase).too_slow(self.time_limit)
            if limit >= deadline or not isinstance(slow, TooSlow):
                raise slow from None
            reason = f"the device was at work for more than {launched_s:.1f} s after all of the call had been launched"
            raise slow.because(f"{reason} (deadlines.gpu_call_s, and what the reference takes)") from None

    def _ending(self, phase: Phase) -> Ending:
        """Kill it: how it ended, in `phase`."""
        return Ending(self.side, phase, self._settings.limits, self.kill(), self.stderr.text())

    def _own_ending(self, phase: Phase) -> Ending:
        """Kill it. Raises `HarnessError` when something else had done so."""
        ending = self._ending(phase)
        ending.require_its_own()
        return ending

    def _death(self, phase: Phase) -> Ending:
        """The channel closed. It may be dying still, so wait a moment before killing."""
        limit = time.monotonic() + 2.0
        while self.program.poll() is None and time.monotonic() < limit:
            self._hear_out(0.01)
        return self._own_ending(phase)

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
        """Take its output. Nobody reads it any more, and it must not fill our memory."""
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
        """Stop everything in the cell where it stands. A cell that does not stop is killed: raises `CellFailed`, or
        `HarnessError` if this host's kernel keeps it from stopping."""
        try:
            self.program.freeze()
        except HarnessError:
            self.kill()
            raise
        except RunsOnError as error:
            raise self._ending(self._phase).ran_on() from error
        self._frozen = True

    def thaw(self) -> None:
        """Let it run on."""
        self.program.thaw()
        self._frozen = False

    def leave(self, deadline: float) -> Ended | None:
        """Tell the cell that nothing more will be asked, and wait until all of it has ended by itself. None if it has
        not by `deadline` (monotonic). Kill it in any case."""
        with suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)
        while (ended := self.program.poll()) is None and time.monotonic() < deadline:
            self._hear_out(_LEAVING_STEP_S)
        return ended

    def strike(self) -> None:
        """Send the signal that kills it, and do not wait: a process with a GPU takes a tenth of a second to die."""
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
