"""One result document as people read it: `evald eval` and `evald show` print the same."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from daemon.cli import figures, outcome, screen
from daemon.cli.screen import Column, Styled

_TAIL_LINES = 20
Document = Mapping[str, Any]

_SHARE_COLUMN = Column("OF DEVICE", right=True)
_CASE_COLUMNS = (
    Column("CASE"),
    Column("SIZES", flexible=True),
    Column("VERDICT"),
    Column("CHECKS", right=True),
    Column("MAX ERROR", right=True),
    Column("TIME", right=True),
    Column("REFERENCE", right=True),
    Column("SPEEDUP", right=True),
    Column(""),
)


def show(document: Document) -> None:
    """Verdict, message, times, cases, failures with the user's traceback, notes, labels, environment."""
    screen.fields(
        [
            ("name", Styled(document["name"], "bold")),
            ("verdict", outcome.coloured(document["verdict"])),
            ("phase", None if document["verdict"] == "passed" else document["phase"]),
            ("message", document["message"]),
            *_times(document),
            ("problem", document["problem"]),
            ("labels", _labels(document)),
            ("on", _environment(document["environment"])),
        ]
    )
    cases: Sequence[Document] = document["cases"]
    if len(cases) > 1:
        screen.line()
        _case_table(cases)
    _failures(cases, document["message"] or "")
    _printed(cases)
    _notes(document, cases)


def _times(document: Document) -> list[tuple[str, str | None]]:
    """The times. Of one case all figures; of several only those that hold for all of them, because the table has the
    rest."""
    cases = document["cases"]
    if not cases:
        return []
    compiled = ("compiled in", _if_known(document["compile_ms"]))
    if len(cases) > 1:
        runtime, speedup = document["kernel_exec_result"]["runtime"], document["speedup"]
        told = "geometric mean"
        if every := document["comparison"]:
            told += f"; {_words(every)} in all of them"
        return [
            (
                "time",
                f"{figures.milliseconds(runtime)}  (sum over {len(cases)} cases)" if runtime is not None else None,
            ),
            ("speedup", f"{figures.ratio(speedup)}  ({told})" if speedup is not None else None),
            compiled,
        ]
    only = cases[0]
    compared = only["speedup"] is not None
    return [
        ("checks", _checks(only)),
        ("time", _timing(only["timing"])),
        ("reference", _timing(only["ref_timing"])),
        ("speedup", f"{figures.ratio(only['speedup'])}  ({_words(only['comparison'])})" if compared else None),
        ("speed of light", _speed_of_light(only)),
        ("sanitizer", _sanitized(only)),
        compiled,
    ]


def _if_known(value: float | None) -> str | None:
    return None if value is None else figures.milliseconds(value)


def _words(comparison: str | None) -> str:
    return (comparison or "not compared").replace("_", " ")


def _checks(case: Document) -> str | None:
    if not case["trials_total"]:
        return None
    text = f"{case['trials_passed']} of {case['trials_total']} trials passed"
    if case["max_abs_error"] is not None:
        text += f", largest error {figures.errors(case['max_abs_error'], case['max_rel_error'])}"
    return text


def _speed_of_light(case: Document) -> str | None:
    """How much of the device the candidate used, and why that was not counted although it was asked for."""
    found = case["device_metrics"]
    custom = found.get("custom_device_metrics", {})
    told = []
    if share := _share(case["timing"]):
        side = case["timing"]["limiting_side"] or custom.get("roofline_metrics", {}).get("limiting_side")
        declared = ", as declared" if case["timing"]["work_source"] == "declared" else ""
        reference = _share(case["ref_timing"])
        beside = f"; the reference {reference}" if reference else ""
        told.append(f"{share} of what this device can do: {side}{declared}{beside}")
    if reason := found.get("unsupported") or custom.get("unsupported"):
        told.append(f"not counted: {reason}")
    return "\n".join(told) or None


def _share(timing: Document | None) -> str | None:
    """`42.1 %`."""
    share = timing["speed_of_light_pct"] if timing else None
    return None if share is None else f"{share:.3g} %"


def _sanitized(case: Document) -> str | None:
    """One word per check that was asked for."""
    told = []
    for check in case["checks"]:
        state = "clean" if check["completed"] else "not carried out"
        state = f"found {check['errors']}" if check["errors"] else state
        told.append(f"{check['check']} {state}")
    return ", ".join(told) or None


def _timing(timing: Document | None) -> str | None:
    if timing is None:
        return None
    text = figures.with_error(timing["stats"]["mean"], timing["rse"])
    labels = "".join(f"  [{label}]" for label in timing["labels"])
    return f"{text}   median {figures.milliseconds(timing['stats']['median'])}{labels}"


def _labels(document: Document) -> str | None:
    return "  ".join(f"{key}={value}" for key, value in document["labels"].items()) or None


def _environment(environment: Document) -> str | None:
    if not environment["torch"]:
        return None
    device = environment["device_name"] or environment["device"]
    weaker = "".join(f"\nweaker: {text}" for text in environment["isolation_weaker"])
    control = environment["control"]
    compared = ""
    if control:
        compared = f"\ncontrol {figures.ratio(control['ratio'])} its baseline, {figures.span(control['age_s'])} before"
    return f"{device}, torch {environment['torch']}, isolation {environment['isolation']}{weaker}{compared}"


def _case_table(cases: Sequence[Document]) -> None:
    """One row per case, with the share of the device where any case has one."""
    shares = [_share(case["timing"]) for case in cases]
    rows = [_case_row(case) for case in cases]
    if not any(shares):
        screen.table(_CASE_COLUMNS, rows)
        return
    *columns, words = _CASE_COLUMNS
    shown = [[*row[:-1], share or figures.ABSENT, row[-1]] for row, share in zip(rows, shares, strict=True)]
    screen.table((*columns, _SHARE_COLUMN, words), shown)


def _case_row(case: Document) -> list[str]:
    timing, reference = case["timing"], case["ref_timing"]
    return [
        case["name"],
        " ".join(f"{symbol}={value}" for symbol, value in case["bind"].items()),
        outcome.coloured(case["verdict"]),
        f"{case['trials_passed']}/{case['trials_total']}" if case["trials_total"] else figures.ABSENT,
        figures.plain(case["max_abs_error"]),
        figures.milliseconds(timing["stats"]["mean"] if timing else None),
        figures.milliseconds(reference["stats"]["mean"] if reference else None),
        figures.ratio(case["speedup"]),
        _words(case["comparison"]) if case["comparison"] else "",
    ]


def _failures(cases: Sequence[Document], told_already: str) -> None:
    """Whose kernel failed, where, and the evidence. What several cases only repeat is said once. Of a message that
    stands above already, only the first line is shown."""
    told: set[tuple[str, ...]] = set()
    for case in cases:
        failure = case["failure"]
        if failure is None:
            continue
        said = (failure["traceback"], case["stdout_tail"], case["stderr_tail"], case["worst_index"])
        words = (failure["side"], failure["phase"], failure["message"], str(said))
        if words in told or not (_has_evidence(case) or len(cases) > 1):
            continue
        told.add(words)
        title = f"{case['verdict']}: the {failure['side']}, in {failure['phase']}"
        screen.heading(f"case {case['name']}: {title}" if len(cases) > 1 else title)
        if len(cases) > 1:
            message: str = failure["message"]
            screen.line(textwrap.indent(message.partition("\n")[0] if message in told_already else message, "  "))
        _evidence(case)


def _has_evidence(case: Document) -> bool:
    failure = case["failure"]
    ended = failure["signal"] or failure["exit_code"] is not None
    said = _traceback(failure) or case["stdout_tail"] or case["stderr_tail"]
    return bool(ended or said or case["worst_index"] is not None)


def _evidence(case: Document) -> None:
    failure = case["failure"]
    if case["worst_index"] is not None:
        screen.line(f"  worst: {case['worst_output'] or 'output'}{list(case['worst_index'])}")
    if failure["signal"] or failure["exit_code"] is not None:
        screen.line(f"  ended by {failure['signal'] or 'exit code ' + str(failure['exit_code'])}")
    _block("traceback", _traceback(failure))
    _output(case)


def _traceback(failure: Document) -> str | None:
    """None also where the message has all of it: the words of a compiler are in both."""
    traceback: str | None = failure["traceback"]
    return None if traceback and traceback.strip() in failure["message"] else traceback


def _printed(cases: Sequence[Document]) -> None:
    """The output of kernels that did not fail: whoever printed something wants to read it."""
    for case in cases:
        if case["failure"] is None and (case["stdout_tail"] or case["stderr_tail"]):
            screen.heading(f"case {case['name']} printed" if len(cases) > 1 else "printed")
            _output(case)


def _output(case: Document) -> None:
    _block("stdout", case["stdout_tail"])
    _block("stderr", case["stderr_tail"])


def _block(title: str, text: str | None) -> None:
    """The last lines of what a bundle said, indented; control characters are made harmless."""
    lines = (text or "").rstrip().splitlines()
    if not lines:
        return
    left_out = len(lines) - _TAIL_LINES
    screen.line(Styled(f"  {title}" + (f" (last {_TAIL_LINES} lines)" if left_out > 0 else ""), "dim"))
    for line in lines[-_TAIL_LINES:]:
        screen.line("    " + "".join(c if c.isprintable() else "\t" if c == "\t" else "?" for c in line))


def _notes(document: Document, cases: Sequence[Document]) -> None:
    found = [*document["notes"]]
    for case in cases:
        prefix = f"{case['name']}: " if len(cases) > 1 else ""
        found += [f"{prefix}{note}" for note in (*case["notes"], *case["labels"])]
    if not found:
        return
    screen.heading("notes")
    for note in dict.fromkeys(found):  # kernels write some of these: a further line must not look like ours
        screen.line("  - " + note.replace("\n", "\n    "))
