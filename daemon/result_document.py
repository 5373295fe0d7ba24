"""The result document, the samples beside it, and the way back from both. Touches no files. What the document has is
told in docs/reference/exit-codes-and-results.md."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from daemon.evaluation import CaseEvaluation, Evaluation, Timing
from daemon.verdict import Side, Verdict

_OUTSIDE = ("192.0.2.1", 9)  # an address for documentation (RFC 5737): the way there is the way out
_SURROGATE = re.compile("[\ud800-\udfff]")
_RAW = ("samples_ms", "calls", "walls_ms", "nulls", "sm_mhz")  # of a timing: in the samples, not in the result


@dataclass(frozen=True)
class Subject:
    """Which job a result is about. Times in milliseconds."""

    job_id: str
    name: str
    problem: str | None = None
    labels: Mapping[str, str] | None = None
    source_sha256: str | None = None
    contract_sha256: str | None = None
    queue_ms: float | None = None


def compose(subject: Subject, evaluation: Evaluation, finished_at: datetime) -> dict[str, Any]:
    """Milliseconds, full precision; what is absent is None."""
    only = evaluation.cases[0] if len(evaluation.cases) == 1 else None
    environment = evaluation.environment
    return {
        "job_id": subject.job_id,
        "name": subject.name,
        "problem": subject.problem,
        "labels": dict(subject.labels or {}),
        "status": "success" if evaluation.verdict.carried_out else "error",
        "verdict": str(evaluation.verdict),
        "phase": str(evaluation.phase),
        "message": evaluation.message,
        "finished_at": finished_at.isoformat(),
        "pod_name": socket.gethostname(),
        "pod_ip": _own_address(),
        "gpu_type": environment.device_name if environment.device != "cpu" else "cpu",
        "kernel_exec_result": _kernel_exec_result(evaluation, only),
        "ref_runtime": _stats(only.ref_timing) if only else None,
        "speedup": evaluation.speedup,
        "comparison": evaluation.comparison,
        "cases": [_case(case) for case in evaluation.cases],
        "compile_ms": evaluation.compile_ms,
        "queue_ms": subject.queue_ms,
        "evaluate_ms": evaluation.evaluate_ms,
        "environment": environment.model_dump(mode="json"),
        "source_sha256": subject.source_sha256,
        "contract_sha256": subject.contract_sha256,
        "notes": list(evaluation.notes),
    }


def _own_address() -> str | None:
    """The address of the interface that leads out, if there is one. Nothing is sent, and no name server is asked."""
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as outward:
        outward.connect(_OUTSIDE)
        return str(outward.getsockname()[0])
    return None


def _kernel_exec_result(evaluation: Evaluation, only: CaseEvaluation | None) -> dict[str, Any]:
    """In the shape that existing clients read. It is over all cases where there are several; then only cases have
    statistics."""
    verdict = evaluation.verdict
    compiled = all(case.compiled for case in evaluation.cases) if evaluation.cases else False
    compared = [case.correctness for case in evaluation.cases if case.correctness is not None]
    message = evaluation.message
    return {
        "compiled": compiled,
        "correctness": all(compared) if compared else None,
        "runtime": evaluation.runtime_ms,
        "runtime_stats": _stats(only.timing) if only else None,
        "compilation_error": message if verdict is Verdict.COMPILE_ERROR else None,
        "validation_error": message if verdict not in (Verdict.PASSED, Verdict.COMPILE_ERROR) else None,
        "metadata": {
            "gpu_id": evaluation.environment.device_index,
            "device_metrics": only.device_metrics if only is not None else {},
        },
    }


def _stats(timing: Timing | None) -> dict[str, float] | None:
    return None if timing is None else timing.stats.model_dump()


def _case(case: CaseEvaluation) -> dict[str, Any]:
    dumped: dict[str, Any] = case.model_dump(mode="json", exclude={"timing", "ref_timing", "tool_reports"})
    dumped["timing"] = _timing(case.timing)
    dumped["ref_timing"] = _timing(case.ref_timing)
    return dumped


def _timing(timing: Timing | None) -> dict[str, Any] | None:
    return None if timing is None else timing.model_dump(mode="json", exclude=set(_RAW))


def samples(evaluation: Evaluation) -> list[dict[str, Any]]:
    """Every timing's figures of single rounds, by case and side."""
    return [
        {"case": case.name, "side": str(side), **{name: getattr(timing, name) for name in _RAW}}
        for case in evaluation.cases
        for side, timing in ((Side.CANDIDATE, case.timing), (Side.REFERENCE, case.ref_timing))
        if timing is not None
    ]


def evaluation_of(document: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> Evaluation:
    """What the engine had answered, without the fields that only its tools wrote. Raises `ValueError` or `LookupError`
    if that is no result."""
    own = ("case", "side")
    raw = {
        (one["case"], one["side"]): {name: figures for name, figures in one.items() if name not in own}
        for one in samples
    }
    cases = []
    for case in document["cases"]:
        timings = {
            name: {**case[name], **raw[case["name"], str(side)]}
            for name, side in (("timing", Side.CANDIDATE), ("ref_timing", Side.REFERENCE))
            if case[name] is not None
        }
        cases.append({**case, **timings})
    known = {name: document[name] for name in Evaluation.model_fields if name in document}
    return Evaluation.model_validate({**known, "cases": cases})


def as_json(value: object) -> str:
    r"""JSON text for files and screens: indented, without NaN and Infinity. Lone surrogates, which UTF-8 cannot encode,
    are written as escapes (`\udcff`), as in the database."""
    return dumped(value, indent=2) + "\n"


def dumped(value: object, indent: int | None = None) -> str:
    """The same, on one line by default."""
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=False)
    return text if text.isascii() else _SURROGATE.sub(lambda found: f"\\\\u{ord(found[0]):04x}", text)
