"""Whose fault it is, by type.

A candidate that crashes, hangs, lies or is wrong is not an exception: it is an `Evaluation` with a verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class EvaldError(Exception):
    """Root of everything evald raises on purpose. `hint` says what to type or change, when there is something."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class OperatorError(EvaldError):
    """Configuration, usage, or schema out of date. Exit code 2, one line, and what to type."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong with a bundle: in which file, at which field (`cases[0].bind.N`), what, and what was meant."""

    file: str
    field: str
    message: str
    suggestion: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}: {self.field}" if self.field else self.file
        tail = f" (did you mean {self.suggestion!r}?)" if self.suggestion else ""
        return f"{place}: {self.message}{tail}"


class BundleError(EvaldError):
    """The bundle is malformed, unsafe or too large. Verdict `rejected`, never retried, every problem listed."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        if not problems:
            raise ValueError("a BundleError needs at least one problem")
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class HarnessError(EvaldError):
    """Sandbox, judge, device or storage failed. Retried and alarmed, never blamed on the bundle."""


class DeviceError(HarnessError):
    """The device is sick: it takes no jobs until it has been looked at again.

    The attempt still counts. A bundle that makes devices sick would otherwise do so for ever.
    """


class FoundSick(DeviceError):  # noqa: N818 - says what happened
    """The device was sick before the job came, which has no part in it."""


class Hindered(HarnessError):  # noqa: N818 - says what happened
    """Something that evald had started was killed, or was not there in time: the next try may succeed."""


class NotBegun(HarnessError):  # noqa: N818 - says what happened
    """This host could not even begin the job. No attempt counts, as long as other jobs cannot be begun here either."""


class NotKept(HarnessError):  # noqa: N818 - says what happened
    """This host could not write down what it found out. No attempt counts, as long as nothing else can be written here
    either."""


class NoDevice(NotBegun):
    """Every device that could judge the job was set aside while it waited for one."""


class OutOfReach(NotBegun):
    """The job's bundle lies where this host cannot see it, with a daemon that is at work."""


class LostClaim(EvaldError):  # noqa: N818 - an expected outcome of a race, not an error
    """Somebody else holds this job now: stop touching it. No alarm."""
