"""How a cell ended, as a verdict: what its own report, its silence, its death and the limits that it met amount to.
There is no cell here, only what is known of a dead one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from daemon.errors import Hindered
from daemon.evaluation import Failure
from daemon.executor.cells.capture import printable
from daemon.executor.host.processes import Ended
from daemon.executor.sandbox.policy import CellLimits
from daemon.executor.shared.protocol import Message
from daemon.verdict import Phase, Side, Verdict

_ABOUT_S = 0.5
_ALL_KILLED = "everything it had started was killed"
WHY_KILLED = "the log of the kernel may say why, want of memory for one: dmesg"
_LAST_WORDS_CHARS = 300
_NOT_FOR_A_CELL_TO_SAY = frozenset({Verdict.PASSED, Verdict.HARNESS_ERROR, Verdict.REJECTED})
_BEFORE_A_CALL = frozenset({Phase.BUILD, Phase.LOAD})


class CellFailed(Exception):  # noqa: N818 - an outcome, not an error
    """The kernel in a cell ended the evaluation: verdict, message, evidence. The judge adds whose cell it was. `final`:
    a compiler's refusal, in which no limit of the cell had a part."""

    def __init__(self, verdict: Verdict, failure: Failure, *, final: bool = False) -> None:
        super().__init__(failure.message)
        self.final = final
        self.verdict = verdict
        self.failure = failure


class TooSlow(CellFailed):
    """It did not answer in time. `rest`: what to say besides, whichever limit it was."""

    def __init__(self, failure: Failure, rest: str) -> None:
        super().__init__(Verdict.TIMEOUT, failure)
        self._rest = rest

    def because(self, reason: str) -> CellFailed:
        """The same, with another limit than that of everything the cell is asked."""
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
class Ending:
    """How the cell of `side` `ended` in `phase`; `stderr`: what it had written there. Each method is one way to end, as
    the `CellFailed` to raise."""

    side: Side
    phase: Phase
    limits: CellLimits
    ended: Ended
    stderr: str

    def require_its_own(self) -> None:
        """Raises `Hindered` when something else had killed it: that tells nothing about the kernel in it."""
        if self.ended.from_outside:
            raise Hindered("a cell was killed from outside, or what it was forked from", hint=WHY_KILLED)

    def meddled(self, what: str) -> CellFailed:
        """It sent what nobody had asked for, or what is no message."""
        return self._failed(Verdict.INTEGRITY_VIOLATION, f"wrote into the judge's channel: {what}")

    def ran_on(self) -> CellFailed:
        """It could not be frozen."""
        return self._failed(Verdict.INTEGRITY_VIOLATION, "could not be stopped between two calls")

    def too_slow(self, time_limit: TimeLimit | None) -> CellFailed:
        """It had not answered in time. `time_limit`: the limit of everything that it is asked, if there is one."""
        limit = "the time limit was over"
        if time_limit is not None and time_limit.is_over:  # and not a shorter one
            limit += f", {time_limit.seconds:g} s ({time_limit.setting})"
        if self.ended.oom_killed:  # the cell may wait for ever for a process that was killed for want of memory
            return self._failed(Verdict.OUT_OF_MEMORY, f"{limit}; {_ALL_KILLED}")
        failure = self._failed(Verdict.TIMEOUT, f"{limit}; {_ALL_KILLED}").failure
        return TooSlow(failure, f"{_ALL_KILLED}{self._limit_hit}")

    def reported(self, answer: Message) -> CellFailed:
        """A fault in the cell's own words. A claim can only hurt its owner: no word for "passed" is accepted."""
        try:
            verdict = Verdict(str(answer.get("verdict")))
        except ValueError:
            verdict = Verdict.RUNTIME_ERROR
        if verdict in _NOT_FOR_A_CELL_TO_SAY or (verdict is Verdict.UNSUPPORTED and self.phase not in _BEFORE_A_CALL):
            verdict = Verdict.RUNTIME_ERROR
        if self.ended.oom_killed:  # say a compiler of the cell's was killed: its report is only the consequence
            verdict = Verdict.OUT_OF_MEMORY
        text = answer.get("traceback")
        message = printable(str(answer.get("message"))[:8192])
        failure = Failure(
            phase=self.phase,
            side=self.side,
            message=message + self._limit_hit,
            traceback=printable(str(text)[:16_384]) if text else None,
        )
        undisturbed = not self.ended.oom_killed and not self.ended.processes_refused
        final = answer.get("final") is True and verdict is Verdict.COMPILE_ERROR and undisturbed
        return CellFailed(verdict, failure, final=final)

    def died(self) -> CellFailed:
        """It was gone before it had answered."""
        if self.ended.oom_killed:
            return self._failed(Verdict.OUT_OF_MEMORY, "killed for want of memory")
        if self.ended.signal == "SIGXFSZ":
            limit_mib = self.limits.file_bytes >> 20
            return self._failed(Verdict.RUNTIME_ERROR, f"killed: wrote a file beyond the {limit_mib} MiB it may have")
        signal, code = self.ended.signal, self.ended.exit_code
        how = f"was killed by {signal}" if signal else f"ended with exit code {code}"
        said = f"; the last it said: {self._last_words}" if self._last_words else ""
        return self._failed(Verdict.RUNTIME_ERROR, f"the process {how} before it had answered{said}")

    @property
    def _last_words(self) -> str:
        """Its last line on stderr, where a C++ exception that nobody caught or a failed assertion names itself."""
        lines = before_the_crash(self.stderr).split("\n")
        return next((printable(line.strip()[:_LAST_WORDS_CHARS]) for line in reversed(lines) if line.strip()), "")

    @property
    def _limit_hit(self) -> str:
        limits, ended = self.limits, self.ended
        hit = f"; it ran into its limit of {limits.processes} processes and threads" if ended.processes_refused else ""
        return hit + (f"; it used more than the {limits.memory_bytes >> 20} MiB it may use" if ended.oom_killed else "")

    def _failed(self, verdict: Verdict, message: str) -> CellFailed:
        failure = Failure(
            phase=self.phase,
            side=self.side,
            message=message + self._limit_hit,
            traceback=_crash_lines(self.stderr) if self.ended.signal else None,
            exit_code=self.ended.exit_code,
            signal=self.ended.signal,
        )
        return CellFailed(verdict, failure)


def before_the_crash(stderr: str) -> str:
    """What a process had written to stderr before faulthandler reported there where a fatal signal struck."""
    before, report, _ = stderr.rpartition("Fatal Python error: ")
    return before if report else stderr


def _crash_lines(stderr: str) -> str | None:
    """faulthandler's own report of where a fatal signal struck, the user's frames of it."""
    report = stderr[len(before_the_crash(stderr)) :].partition("\nExtension modules:")[0]
    lines = [line for line in report.splitlines() if "daemon/executor" not in line and "<frozen runpy>" not in line]
    return "\n".join(lines[:40]).rstrip() or None
