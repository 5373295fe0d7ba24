"""The bundles of this suite, what each must come out as, and the record of those that were judged."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from daemon.config import Limits
from daemon.contract import CompareRequest, ParsedContract, parse_contract
from daemon.evaluation import CaseEvaluation, Evaluation
from daemon.executor import catalog
from daemon.verdict import Verdict

FOLDER = Path(__file__).parent / "bundles"
NOT_OF_THE_BUNDLE = ("expected.json", "write_contract.py", "__pycache__")
_KEYS = {"verdict", "message", "line", "labels", "build", "mode", "needs"}


@dataclass(frozen=True)
class Expected:
    """What `expected.json` says. `line`: file and line that the report must name; `build`: texts in the JSON of what
    was built; `mode`: how it must be timed; `needs`: packages without which the bundle is left out."""

    verdicts: tuple[Verdict, ...]
    messages: tuple[str, ...]
    line: tuple[str, int] | None
    labels: tuple[str, ...]
    build: tuple[str, ...]
    mode: str | None
    needs: tuple[str, ...]

    @property
    def passes(self) -> bool:
        return self.verdicts == (Verdict.PASSED,)


@functools.cache
def expected(name: str) -> Expected:
    """The expectation beside the bundle. Raises ValueError for a key that means nothing."""
    written: dict[str, Any] = json.loads((FOLDER / name / "expected.json").read_text("utf-8"))
    if unknown := set(written) - _KEYS:
        raise ValueError(f"{name}/expected.json: unknown keys {sorted(unknown)}")
    file_and_line = written.get("line")
    return Expected(
        verdicts=tuple(Verdict(word) for word in _listed(written["verdict"])),
        messages=tuple(_listed(written.get("message", []))),
        line=(file_and_line[0], file_and_line[1]) if file_and_line else None,
        labels=tuple(written.get("labels", ())),
        build=tuple(written.get("build", ())),
        mode=written.get("mode"),
        needs=tuple(written.get("needs", ())) + (("pycuda",) if candidate_type(name) == "cuda" else ()),
    )


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


@functools.cache
def parsed(name: str) -> ParsedContract:
    """The bundle's contract. Raises `BundleError` for one that is no good."""
    return parse_folder(FOLDER / name)


def parse_folder(folder: Path) -> ParsedContract:
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not set(path.relative_to(folder).parts) & set(NOT_OF_THE_BUNDLE)
    }
    return parse_contract(
        files.pop("contract.json"), files, types=catalog.contract_types(catalog.load()), limits=Limits()
    )


def candidate_type(name: str) -> str:
    request = parsed(name).request
    return (request.custom_kernel if isinstance(request, CompareRequest) else request.kernel).kernel_type


def names() -> list[str]:
    """Every bundle, those that must pass and the others in turns: whatever one breaks, the next one notices."""
    found = sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir())
    good = [name for name in found if expected(name).passes]
    bad = [name for name in found if not expected(name).passes]
    return list(_in_turns(bad, good))


def _in_turns(first: Sequence[str], second: Sequence[str]) -> Iterator[str]:
    for pair in itertools.zip_longest(first, second):
        yield from (name for name in pair if name is not None)


@dataclass(frozen=True)
class Judged:
    """One bundle that was judged: its only case, and how long all of it took, seconds."""

    name: str
    kernel_type: str
    expected: Expected
    evaluation: Evaluation
    wall_s: float

    @property
    def case(self) -> CaseEvaluation:
        assert len(self.evaluation.cases) == 1, self.evaluation
        return self.evaluation.cases[0]

    @property
    def as_expected(self) -> bool:
        return self.evaluation.verdict in self.expected.verdicts

    @property
    def text(self) -> str:
        """All of it, for a failing assertion."""
        return self.evaluation.model_dump_json(indent=1, exclude={"cases": {"__all__": {"timing", "ref_timing"}}})

    @property
    def report(self) -> dict[str, str]:
        """What the kernel printed as NAME=VALUE lines."""
        pairs = (line.partition("=") for line in self.case.stdout_tail.splitlines())
        return {name: value for name, equals, value in pairs if equals}

    def names_line(self, file: str, line: int) -> bool:
        """Whether message or traceback speak of `line` of `file`, in whatever style its compiler has."""
        failure = self.case.failure
        said = f"{failure.message}\n{failure.traceback or ''}" if failure else ""
        return re.search(rf"{re.escape(file)}\D{{0,12}}{line}\b", said) is not None


_COLUMNS = ("bundle", "type", "verdict", "mode", "runtime us", "ref us", "c0 us", "labels")


def table(judged: Iterable[Judged]) -> str:
    """A Markdown table of `judged`."""
    rows = [_COLUMNS, tuple("---" for _ in _COLUMNS), *(_row(one) for one in judged)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _row(one: Judged) -> tuple[str, ...]:
    case = one.evaluation.cases[0] if one.evaluation.cases else None
    timing, reference = (case.timing, case.ref_timing) if case else (None, None)
    labels = (*case.labels, *(timing.labels if timing else ())) if case else ()
    return (
        one.name,
        one.kernel_type,
        str(one.evaluation.verdict),
        timing.mode if timing else "",
        _us(timing.stats.mean * 1e3 if timing else None),
        _us(reference.stats.mean * 1e3 if reference else None),
        _us(timing.c0_us if timing else None),
        ", ".join(dict.fromkeys(labels)),
    )


def _us(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}" if value < 1000 else f"{value:.0f}"
