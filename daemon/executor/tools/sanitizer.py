"""compute-sanitizer: the command line of a check, its output read as untrusted text, and what follows from it. Pure.

Options and texts are those of the Compute Sanitizer manual. Every line of the tool begins with `=========`: a headline,
then lines about where, indented, until a line that holds no more than the prefix. The last one sums up. A warning of
racecheck is a hazard that a program may mean to have; it is reported and fails nobody.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise

from daemon.contract import Check
from daemon.evaluation import CheckReport, Finding
from daemon.executor.cells.capture import printable
from daemon.verdict import Verdict

_MAX_FINDINGS = 50
_PRINT_LIMIT = 100
_TEXT_CHARS = 400
_LINE_CHARS = 500
_BLOCK_LINES = 20
_PREFIX = "========="
_SUMMARY = re.compile(r"^(?:ERROR|RACECHECK) SUMMARY: (.*)$")
_ERRORS = re.compile(r"([0-9]{1,12}) errors?\b")
_HEADLINE = re.compile(
    r"^(?:Error: |Warning: |WARN(?:ING)?: |ERROR: )?"
    r"(?:Invalid |Misaligned |Uninitialized |Barrier error|Race reported|Potential |Out-of-range |"
    r"Program hit |Host API |Cluster |Unspecified |Hardware exception|Fatal |Stack overflow|Malloc |Free )",
    re.IGNORECASE,
)
_WARNING = re.compile(r"^WARN(?:ING)?: ", re.IGNORECASE)
# `at kernel(float *)+0xb0 in file.cu:21` (2023 and later), `at 0x70 in file.cu:41:kernel(float *)` (before).
_AT = re.compile(r"\bat (?P<kernel>[^+]\S.*?)\+(?P<offset>0x[0-9a-f]+)(?: in (?P<source>\S+:\d+))?(?:$|\s)")
_AT_OLD = re.compile(r"\bat (?P<offset>0x[0-9a-f]+) in (?:(?P<source>\S+:\d+):)?(?P<kernel>.+)$")
# Kernels of cuBLAS, CUTLASS and torch. A bundle's own of such a name gains nothing: it does not pass either.
_OF_A_LIBRARY = re.compile(r"(?:void )?(?:nvjet_|cublas|cutlass|sm[0-9]+_xmma_|at::native::)")
_DOUBT = (
    "as far as it was read, in kernels of a library, whose bulk copies this check does not follow: this is no answer"
)
_THREAD = re.compile(r"by thread (\(\d+,\d+,\d+\)) in block (\(\d+,\d+,\d+\))")
_ADDRESS = re.compile(r"(?:Address|Access to) (0x[0-9a-f]+)")

ENVIRONMENT = {
    "NV_COMPUTE_SANITIZER_LOCAL_CONNECTION_OVERRIDE": "uds",  # a cell may open no socket but a local one
    # An allocation per tensor: in torch's pool an access beyond one tensor lies inside the pool, and is legal.
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "1",
}
# What the sanitizer would say of calls of libraries that probe for what there is, and of evald's own copies.
_QUIET = {
    # Padded, for allocations may lie side by side, and what is beyond one would be in the next.
    Check.MEMCHECK: ("--report-api-errors", "no", "--leak-check", "no", "--padding", "256"),
    Check.RACECHECK: ("--racecheck-report", "analysis", "--racecheck-detect-level", "warn"),
    Check.INITCHECK: ("--check-api-memory-access", "no"),
    Check.SYNCCHECK: (),
}


def command(sanitizer: str, check: Check, report: str) -> list[str]:
    """The sanitizer's part of a command line; the program follows it. Its words go to the file `report`."""
    argv = [sanitizer, "--tool", str(check), "--log-file", report, "--target-processes", "application-only"]
    argv += ["--print-limit", str(_PRINT_LIMIT), "--show-backtrace", "no", "--check-exit-code", "no"]
    return [*argv, *_QUIET[check]]


def read(check: Check, text: str) -> CheckReport:
    """What `text` says. Without its last line, the sum, a check has not come to its end."""
    lines = [line.removeprefix(_PREFIX)[:_LINE_CHARS].strip() for line in text.splitlines() if line.startswith(_PREFIX)]
    starts = [number for number, line in enumerate(lines) if _HEADLINE.match(line)]
    counts = [
        int(found[1]) for line in lines if (summary := _SUMMARY.match(line)) and (found := _ERRORS.search(summary[1]))
    ]
    errors = sum(1 for start in starts if not _WARNING.match(lines[start]))
    return CheckReport(
        check=check.value,
        completed=bool(counts),
        errors=max([errors, *counts]),
        findings=tuple(_finding(check, block) for block in islice(_blocks(lines, starts), _MAX_FINDINGS)),
        note=None if counts else "the sanitizer did not come to its end",
    )


def _blocks(lines: list[str], starts: list[int]) -> Iterator[list[str]]:
    """A headline and the lines below it, up to the next headline, empty line or sum."""
    for start, end in pairwise([*starts, len(lines)]):
        block = [lines[start]]
        for line in lines[start + 1 : min(end, start + _BLOCK_LINES)]:
            if not line or _SUMMARY.match(line):
                break
            block.append(line)
        yield block


def _finding(check: Check, block: list[str]) -> Finding:
    text = " ".join(block)
    places = [found for line in block if (found := _AT.search(line) or _AT_OLD.search(line))]
    place = places[0].groupdict() if places else {}
    thread, address = _THREAD.search(text), _ADDRESS.search(text)
    return Finding(
        check=check.value,
        message=_cleaned(text),
        is_warning=bool(_WARNING.match(block[0])),
        kernel=_cleaned(place.get("kernel")),
        source=_cleaned(place.get("source")),
        thread=thread[1] if thread else None,
        block=thread[2] if thread else None,
        address=address[1] if address else None,
    )


def _cleaned(text: str | None) -> str | None:
    return None if text is None else printable(text[:_TEXT_CHARS])


def verdict_of(reports: Sequence[CheckReport]) -> tuple[Verdict, str] | None:
    """What checks make of a case that has passed otherwise; None: it stays passed.

    An error that was found fails the case. A check that was asked for and could not be carried out to its end leaves
    the question open, so the case has not passed either. The same holds for a finding of which nobody can say whether
    it is an error.
    """
    for report in reports:
        if report.errors and not _is_doubtful(report):
            return Verdict.RUNTIME_ERROR, _in_words(report)
    for report in reports:
        if report.errors:
            return Verdict.UNSUPPORTED, f"{_in_words(report)}; {_DOUBT}"
    for report in reports:
        if not report.completed:
            return Verdict.UNSUPPORTED, f"{report.check} could not be carried out: {report.note}"
    return None


def _is_doubtful(report: CheckReport) -> bool:
    """Whether everything that was found is what racecheck and initcheck also see in right programs: they do not follow
    the bulk copies of Hopper's tensor memory accelerator, by which the kernels of cuBLAS read and write."""
    if report.check not in (Check.RACECHECK.value, Check.INITCHECK.value):
        return False
    found = [finding for finding in report.findings if not finding.is_warning]
    return bool(found) and all(_OF_A_LIBRARY.match(finding.kernel or "") for finding in found)


def _in_words(report: CheckReport) -> str:
    counted = f"{report.check} found {report.errors} error{'s' if report.errors > 1 else ''}"
    first = next((finding.message for finding in report.findings if not finding.is_warning), None)
    return f"{counted}: {first}" if first else counted
