"""Verdicts on the screen and in the exit code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon.cli import figures
from daemon.cli.failing import COULD_NOT, NOT_PASSED
from daemon.cli.screen import Column, Styled
from daemon.verdict import Phase, Verdict

if TYPE_CHECKING:
    from daemon.db.records import JobRecord
    from daemon.evaluation import Evaluation

_LINE_LIMIT = 160


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """0 when all passed (or there is none), 2 when one could not be judged, else 1."""
    found = set(verdicts)
    if any(not verdict.carried_out for verdict in found):
        return COULD_NOT
    return NOT_PASSED if found - {Verdict.PASSED} else 0


def coloured(verdict: str | None) -> Styled:
    """The verdict in its colour."""
    if verdict is None:
        return Styled(figures.ABSENT)
    known = Verdict(verdict)
    style = "green" if known is Verdict.PASSED else "red" if known.carried_out else "magenta"
    return Styled(str(known), style)


@dataclass(frozen=True)
class Line:
    """One judged job in a table of verdicts, and in the JSON of commands that judge several."""

    job_id: str
    name: str
    verdict: Verdict
    phase: str | None
    message: str | None
    runtime_ms: float | None
    ref_runtime_ms: float | None
    speedup: float | None
    comparison: str | None

    @classmethod
    def of_evaluation(cls, job_id: str, name: str, evaluation: Evaluation) -> Line:
        """From what the engine answered, its figures as in the result document."""
        return cls(
            job_id=job_id,
            name=name,
            verdict=evaluation.verdict,
            phase=str(evaluation.phase),
            message=evaluation.message,
            runtime_ms=evaluation.runtime_ms,
            ref_runtime_ms=evaluation.ref_runtime_ms,
            speedup=evaluation.speedup,
            comparison=str(evaluation.comparison) if evaluation.comparison else None,
        )

    @classmethod
    def of_record(cls, job: JobRecord) -> Line:
        """From a job of the database that has ended."""
        document: Mapping[str, Any] = job.document or {}
        return cls(
            job_id=job.job_id,
            name=job.name,
            verdict=job.verdict or Verdict.HARNESS_ERROR,
            phase=str(job.phase) if job.phase else None,
            message=job.message,
            runtime_ms=job.runtime_ms,
            ref_runtime_ms=job.ref_runtime_ms,
            speedup=job.speedup,
            comparison=document.get("comparison"),
        )

    def as_document(self) -> dict[str, Any]:
        return {**vars(self), "verdict": str(self.verdict)}

    def cells(self) -> list[str]:
        """The row of `COLUMNS`."""
        remark = (self.comparison or "").replace("_", " ") if self.verdict is Verdict.PASSED else self._reason()
        return [
            self.name,
            coloured(self.verdict),
            figures.milliseconds(self.runtime_ms),
            figures.milliseconds(self.ref_runtime_ms),
            figures.ratio(self.speedup),
            remark,
        ]

    def _reason(self) -> str:
        """The first line of the message. A bundle that was rejected has a line for each problem: then also how many
        more there are."""
        lines = (self.message or "").strip().splitlines()
        more = len(lines) - 1 if self.verdict is Verdict.REJECTED and self.phase == Phase.INTAKE else 0
        return first_line(self.message) + (f" (and {more} more)" if more > 0 else "")


COLUMNS = (
    Column("NAME", shortened=True),
    Column("VERDICT"),
    Column("TIME", right=True),
    Column("REFERENCE", right=True),
    Column("SPEEDUP", right=True),
    Column("", flexible=True),
)


def first_line(message: str | None) -> str:
    """The first line of a message, cut to fit a table."""
    text = message.strip().splitlines()[0] if message and message.strip() else ""
    return text if len(text) <= _LINE_LIMIT else f"{text[: _LINE_LIMIT - 1]}…"
