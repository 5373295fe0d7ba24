"""What `evald serve` answers, as a program sees it: a job, a result, a refusal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from daemon.errors import EvaldError


class ClientError(EvaldError):
    """The server refused, or could not be reached (`status` None). `problems`: what is wrong with a contract."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        hint: str | None = None,
        problems: tuple[Mapping[str, Any], ...] = (),
        job_id: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.problems = problems
        self.job_id = job_id
        self.tries = 0  # how often it was sent before this answer came


@dataclass(frozen=True)
class Job:
    """One job as the server tells it. `document`: everything it told."""

    job_id: str
    status: str  # pending, running, completed
    name: str | None = None
    progress: str | None = None
    document: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Job:
        return cls(document["job_id"], document["status"], document.get("name"), document.get("progress"), document)

    @property
    def warnings(self) -> tuple[Mapping[str, Any], ...]:
        """Keys of the contract that have no effect, told when it is submitted: `field`, `message`, `suggestion`."""
        return tuple(self.document.get("warnings") or ())


@dataclass(frozen=True)
class Result:
    """What evald found. Times in milliseconds, None where there is none; `document` is the whole `result.json`."""

    document: Mapping[str, Any] = field(repr=False)

    @property
    def job_id(self) -> str:
        return str(self.document["job_id"])

    @property
    def verdict(self) -> str:
        """passed, compile_error, wrong_answer, and so on."""
        return str(self.document["verdict"])

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"

    @property
    def message(self) -> str | None:
        """Why it did not pass."""
        return self.document.get("message")

    @property
    def runtime_ms(self) -> float | None:
        return self.document["kernel_exec_result"]["runtime"]  # type: ignore[no-any-return]

    @property
    def ref_runtime_ms(self) -> float | None:
        stats = self.document.get("ref_runtime")
        return None if stats is None else stats["mean"]

    @property
    def speedup(self) -> float | None:
        return self.document.get("speedup")

    @property
    def comparison(self) -> str | None:
        """faster, same, slower or cannot_tell, by the intervals and not by the ratio."""
        return self.document.get("comparison")

    @property
    def case_labels(self) -> frozenset[str]:
        """The labels of any case: what evald has to say of its figures. weak_check, less_exact, content_cache, and so
        on."""
        timed = [one for case in self.document.get("cases", ()) for one in (case, case.get("timing") or {})]
        return frozenset(label for one in timed for label in one.get("labels", ()))

    def __repr__(self) -> str:
        return f"Result({self.job_id} {self.verdict}, runtime_ms={self.runtime_ms}, speedup={self.speedup})"


def document_in(text: str) -> dict[str, Any]:
    """An answer of evald. Raises `ClientError` for what is none: a proxy's page, say."""
    try:
        told = json.loads(text)
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise ClientError(f"no answer of evald: {text[:100]!r}", hint="is this where evald listens?")
    return told


def retry_after_s(answer: httpx.Response) -> float | None:
    """How long the server asks to wait, seconds; None where it does not say."""
    value = answer.headers.get("retry-after", "")
    return float(value) if value.isascii() and value.isdigit() else None


def refusal_in(answer: httpx.Response) -> ClientError:
    """Why the server refused, in its own words if they are evald's."""
    try:
        told = answer.json()
        message, hint = str(told["error"]), told.get("hint")
        problems, job_id = tuple(told.get("problems") or ()), told.get("job_id")
    except (ValueError, KeyError, TypeError, AttributeError):
        hint = "a proxy in between? its limits count as well"
        if answer.has_redirect_location:
            hint = f"it sends elsewhere, to {answer.headers['location']}"
        return ClientError(f"HTTP {answer.status_code}, and no answer of evald", status=answer.status_code, hint=hint)
    if len(problems) > 1:  # the hint is about the first alone
        message, hint = "\n".join(map(in_a_line, problems)), None
    return ClientError(message, status=answer.status_code, hint=hint, problems=problems, job_id=job_id)


def in_a_line(problem: Mapping[str, Any]) -> str:
    """A problem, or a warning, of a contract."""
    meant = f" (did you mean {problem['suggestion']!r}?)" if problem.get("suggestion") else ""
    place = f"{problem['field']}: " if problem.get("field") else ""
    return f"{place}{problem.get('message')}{meant}"
