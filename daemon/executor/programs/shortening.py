"""What a case carries of a bundle's and a tool's words, cut so that all cases of it make a result of some megabytes.

A message is JSON, in which a character takes up to twelve bytes: what counts here is bytes as they are sent, or as they
are shown where that is more. The code under test can write all of these words: results are kept for months and in two
places, and a message that is too large would be taken for a fault of evald.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

from daemon.evaluation import CaseEvaluation, CheckReport

_WHOLE_BYTES = 1 << 20  # of all cases together; each kind of words below may have so many times this
_OUTPUT, _REPORTS, _FINDINGS, _METRICS, _BUILD = 2, 3, 1, 3, 1
_LONG_METRICS = ("kernels", "detailed_metrics")


def shortened(case: CaseEvaluation, cases: int) -> CaseEvaluation:
    """The ends of what it printed, the beginnings of what tools said, the first findings of each check, and counters
    without those of each kernel if these are too many. `cases`: how many there are."""
    share = _WHOLE_BYTES // cases
    report_bytes = _REPORTS * share // max(len(case.tool_reports), 1)
    return case.model_copy(
        update={
            "stdout_tail": _end(case.stdout_tail, _OUTPUT * share),
            "stderr_tail": _end(case.stderr_tail, _OUTPUT * share),
            "tool_reports": {name: _beginning(text, report_bytes) for name, text in case.tool_reports.items()},
            "checks": tuple(_with_first_findings(check, _FINDINGS * share) for check in case.checks),
            "device_metrics": _fewer(case.device_metrics, _METRICS * share),
            "build": _as_far_as_it_fits(case.build, _BUILD * share),
        }
    )


def _sent_bytes(value: object) -> int:
    return len(json.dumps(value))


def _most(count: int, sent_bytes: Callable[[int], int], limit_bytes: int) -> int:
    """How many of `count` fit; `sent_bytes` says how many bytes the first, or the last, so many take."""
    if sent_bytes(count) <= limit_bytes:
        return count
    return bisect_right(range(1, count + 1), limit_bytes, key=sent_bytes)


def _beginning(text: str, limit_bytes: int) -> str:
    return text[: _most(len(text), lambda kept: _sent_bytes(text[:kept]), limit_bytes)]


def _end(text: str, limit_bytes: int) -> str:
    kept = _most(len(text), lambda kept: _sent_bytes(text[len(text) - kept :]), limit_bytes)
    return text[len(text) - kept :]


def _with_first_findings(check: CheckReport, limit_bytes: int) -> CheckReport:
    """`errors` still counts all."""
    sizes = [_sent_bytes(finding.model_dump(mode="json")) for finding in check.findings]
    kept = _most(len(sizes), lambda kept: sum(sizes[:kept]), limit_bytes)
    return check if kept == len(sizes) else check.model_copy(update={"findings": check.findings[:kept]})


def _as_far_as_it_fits(build: Mapping[str, Any], limit_bytes: int) -> dict[str, Any]:
    """As it is shown: lists in lists take many times the bytes that they are sent in."""
    sizes = [len(json.dumps({key: value}, indent=2)) for key, value in build.items()]
    kept = _most(len(sizes), lambda kept: sum(sizes[:kept]), limit_bytes)
    note = {} if kept == len(sizes) else {"note": "the rest is left out, too large for a result"}
    return dict(list(build.items())[:kept]) | note


def _fewer(metrics: Mapping[str, Any], limit_bytes: int) -> dict[str, Any]:
    if _sent_bytes(metrics) <= limit_bytes:
        return dict(metrics)
    return {key: _summed_up(value) if isinstance(value, dict) else value for key, value in metrics.items()}


def _summed_up(side: Mapping[str, Any]) -> dict[str, Any]:
    left_out = [name for name in _LONG_METRICS if name in side]
    note = f"left out, too large for a result: {', '.join(left_out)}"
    kept = {name: value for name, value in side.items() if name not in left_out}
    return {**kept, "note": f"{kept['note']}; {note}" if "note" in kept else note} if left_out else kept
