"""What an evaluation can find, and the stage in which it ended."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """The answer to "what is this kernel worth?", best first."""

    PASSED = "passed"
    COMPILE_ERROR = "compile_error"
    WRONG_ANSWER = "wrong_answer"
    RUNTIME_ERROR = "runtime_error"
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    REJECTED = "rejected"
    INTEGRITY_VIOLATION = "integrity_violation"
    UNSUPPORTED = "unsupported"
    HARNESS_ERROR = "harness_error"

    @property
    def carried_out(self) -> bool:
        """True when evald did its part, whatever it found. The result's `status` is then `success`."""
        return self not in (Verdict.REJECTED, Verdict.UNSUPPORTED, Verdict.HARNESS_ERROR)


class Phase(StrEnum):
    """The stages of one evaluation, in order."""

    INTAKE = "intake"
    BUILD = "build"
    LOAD = "load"
    INPUTS = "inputs"
    CHECK = "check"
    MEASURE = "measure"
    REPORT = "report"


class Side(StrEnum):
    """Which of the kernels in a bundle something is about."""

    CANDIDATE = "candidate"
    REFERENCE = "reference"


class Comparison(StrEnum):
    """The answer of a compare about speed (measurement rule: intervals apart, never just a ratio)."""

    FASTER = "faster"
    SAME = "same"
    SLOWER = "slower"
    CANNOT_TELL = "cannot_tell"
