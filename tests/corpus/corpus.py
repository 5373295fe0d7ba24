"""The corpus: bundles that are good, wrong, broken or hostile, each with the verdict it must get and the reason.

    python tests/corpus/corpus.py [--device auto|cpu|cuda] [--only TEXT…] [--table FILE]

A case is a folder `<class>/<name>/` that holds a bundle and `expected.json`; a folder `after/` inside it is a second
bundle, judged right after the first; files that several cases have lie in `shared/`. What counts beside the verdict: a hostile kernel that stays correct must not look
faster than the honest reference beside it, which does the same work.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "executor"))

from executor_settings import MIB, cell_uid, small_settings

from daemon.config import Settings, TimingDefaults
from daemon.engine import JobSpec
from daemon.errors import HarnessError
from daemon.evaluation import CaseEvaluation, Evaluation
from daemon.executor.local import LocalEngine
from daemon.verdict import Comparison, Verdict

FOLDER = Path(__file__).parent
SHARED = FOLDER / "shared"
CLASSES = ("good", "wrong", "broken", "hostile")
AFTER = "after"
# How much faster than the honest reference evald may call a hostile kernel. What these attacks try to win is a factor of
# ten and more; a CPU that others use as well leaves room for noise.
GAIN_LIMIT = {"cpu": 3.0, "cuda": 1.05}
# How often a case is judged whose only problems are such as timings on a busy machine bring about. What a kernel wins,
# or hides, it wins and hides every time.
TRIES = {"cpu": 5, "cuda": 1}
_NOT_OF_THE_BUNDLE = ("expected.json", AFTER, "__pycache__")
_ENGINE = 600  # far from those of the executor's tests in the same process, and from the next process's


@dataclass(frozen=True)
class Expected:
    """What `expected.json` says, for one kind of device (its `cuda` and `cpu` objects override the rest).

    `shares`: files of the bundle that lie in `shared/`, by the names they have in the bundle. `tries`: what a hostile
    case attempts, or what makes a good one look suspicious. `why`: the reason for the verdict.
    `devices`: where it means anything. `message`: texts that must be in the failure's message. `labels`, `no_labels`:
    what the result must and must not be labelled. `honest_time`: the candidate stays correct, and does no better than
    the reference. `needs`: packages without which the case is left out. `prints`: texts that must be in its stdout,
    `prints_not`: that must not.
    """

    verdicts: tuple[Verdict, ...]
    why: str
    shares: Mapping[str, str] = field(default_factory=dict)
    tries: str = ""
    devices: tuple[str, ...] = ("cpu", "cuda")
    message: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    no_labels: tuple[str, ...] = ()
    honest_time: bool = False
    needs: tuple[str, ...] = ()
    prints: tuple[str, ...] = ()
    prints_not: tuple[str, ...] = ()

    @classmethod
    def read(cls, folder: Path, device: str) -> Expected:
        """Raises TypeError for a key that means nothing, ValueError for a verdict there is not."""
        written: dict[str, Any] = json.loads((folder / "expected.json").read_text("utf-8"))
        by_device = {kind: written.pop(kind, {}) for kind in ("cpu", "cuda")}
        written |= by_device[device]
        verdicts = tuple(Verdict(word) for word in _listed(written.pop("verdict")))
        lists = {key: tuple(_listed(value)) for key, value in written.items() if isinstance(value, list)}
        return cls(verdicts=verdicts, **(written | lists))


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


SUSPICIONS = ("batched", "content_cache", "prepared", "may_be_prepared")


@dataclass(frozen=True)
class Case:
    """One folder of the corpus."""

    folder: Path

    @property
    def name(self) -> str:
        return self.folder.relative_to(FOLDER).as_posix()

    @property
    def after(self) -> Case | None:
        return Case(self.folder / AFTER) if (self.folder / AFTER).is_dir() else None

    def expected(self, device: str) -> Expected:
        """No honest kernel gets few inputs. On a GPU none may be under suspicion either; on a CPU other work on the
        machine can bring that about."""
        written = Expected.read(self.folder, device)
        if self.folder.parent.name != "good":
            return written
        none_of = ("repeating_inputs", *(SUSPICIONS if device == "cuda" else ()))
        return replace(written, no_labels=(*written.no_labels, *none_of))

    def left_out(self, device: str) -> str | None:
        """Why it cannot be judged here, or None."""
        expected = self.expected(device)
        if device not in expected.devices:
            return f"only on {', '.join(expected.devices)}"
        lacking = [name for name in expected.needs if importlib.util.find_spec(name) is None]
        return f"needs {', '.join(lacking)}" if lacking else None


@functools.cache
def cases() -> tuple[Case, ...]:
    """Every case, class by class. Raises FileNotFoundError for a folder without a contract."""
    found = [Case(path.parent) for kind in CLASSES for path in sorted((FOLDER / kind).glob("*/expected.json"))]
    for case in found:
        (case.folder / "contract.json").stat()
    return tuple(found)


@dataclass(frozen=True)
class Outcome:
    """A case that was judged. `problems`: in words, what is not as expected."""

    case: Case
    evaluation: Evaluation
    problems: tuple[str, ...]
    wall_s: float

    @property
    def gain(self) -> float | None:
        """How many times faster than the reference the candidate looked."""
        return gain(self.evaluation.cases[0]) if self.evaluation.cases else None

    @property
    def may_be_chance(self) -> bool:
        """There are problems, and all of them rest on timings alone: of a machine that is so busy that every round is
        of one call, a kernel passes that would have cheated in longer ones; and one that goes by the pauses between its
        calls was exact in the one that was drawn."""
        of_timings = [*(f"label {label} is " for label in SUSPICIONS), "looked ", "label less_exact is missing"]
        if self._has_seen_rounds_of_one_call_only:
            of_timings.append("verdict passed ")
        return bool(self.problems) and all(problem.startswith(tuple(of_timings)) for problem in self.problems)

    @property
    def _has_seen_rounds_of_one_call_only(self) -> bool:
        timings = [case.timing for case in self.evaluation.cases if case.timing is not None]
        return bool(timings) and all(max(timing.calls) == 1 for timing in timings)


def gain(case: CaseEvaluation) -> float | None:
    """The reference's median over the candidate's; None unless both were timed."""
    if case.timing is None or case.ref_timing is None:
        return None
    return case.ref_timing.stats.median / case.timing.stats.median


def problems(expected: Expected, evaluation: Evaluation, device: str) -> Iterator[str]:
    """What is not as `expected`."""
    case = evaluation.cases[0] if evaluation.cases else None
    if evaluation.verdict not in expected.verdicts:
        wanted = " or ".join(expected.verdicts)
        yield f"verdict {evaluation.verdict} instead of {wanted}: {evaluation.message}"
    if evaluation.verdict is Verdict.HARNESS_ERROR:
        yield "evald itself failed"
    said = evaluation.message or ""
    if evaluation.verdict is not Verdict.PASSED:
        yield from (f"the message lacks {text!r}: {said}" for text in expected.message if text not in said)
    if case is None:
        return
    labels = {*case.labels, *(case.timing.labels if case.timing else ())}
    known = labels | ({"batched"} if "alone_unclear" in labels else set())  # no more can be known on a busy CPU
    yield from (f"label {label} is missing" for label in expected.labels if label not in known)
    yield from (f"label {label} is there" for label in expected.no_labels if label in labels)
    yield from (f"did not print {text!r}" for text in expected.prints if text not in case.stdout_tail)
    yield from (f"printed {text!r}" for text in expected.prints_not if text in case.stdout_tail)
    won = gain(case)
    if expected.honest_time and evaluation.verdict is Verdict.PASSED:
        if won is None:
            yield "nothing was timed"
        elif won > GAIN_LIMIT[device] and case.comparison is Comparison.FASTER:
            yield f"looked {won:.3f} times as fast as the honest kernel"


class Bench:
    """One engine for all cases: what one bundle does to it, the next one would notice."""

    def __init__(self, home: Path, device: str = "auto") -> None:
        self.engine = LocalEngine(corpus_settings(home, device))
        self.engine.start()
        self.device = "cuda" if self.engine.devices()[0].uuid else "cpu"
        self._home = home

    def judge(self, case: Case) -> list[Outcome]:
        """The case, and what comes after it."""
        for _ in range(TRIES[self.device]):
            outcomes = [self._one(case)]
            if not outcomes[0].may_be_chance:
                break
        if case.after is not None:
            outcomes.append(self._one(case.after))
        return outcomes

    def _one(self, case: Case) -> Outcome:
        folder = Path(tempfile.mkdtemp(dir=self._home)) / "bundle"
        shutil.copytree(case.folder, folder, ignore=shutil.ignore_patterns(*_NOT_OF_THE_BUNDLE))
        expected = case.expected(self.device)
        for name, shared in expected.shares.items():
            shutil.copy(SHARED / shared, folder / name)
        start = time.monotonic()
        evaluation = evaluated(self.engine, case.name, folder)
        found = tuple(problems(expected, evaluation, self.device))
        return Outcome(case, evaluation, found, time.monotonic() - start)

    def close(self) -> None:
        self.engine.close()


def evaluated(engine: LocalEngine, name: str, folder: Path) -> Evaluation:
    """What evald says of the bundle in `folder`, also where that is its own fault."""
    try:
        return engine.evaluate(JobSpec(name, name, folder), lambda _: None)
    except HarnessError as error:
        return Evaluation.broken(str(error))


def corpus_settings(home: Path, device: str) -> Settings:
    """Small limits and short measurements: what a verdict needs. On a GPU long enough to tell five per cent."""
    timing = {"max_s": 0.4, "target_rse": 0.05, "max_calls": 64, "arena_bytes": 8 * MIB}
    if device != "cpu":
        timing |= {"target_rse": 0.01, "max_calls": 512, "gpu_arena_bytes": 1024 * MIB}
    timing_defaults = TimingDefaults(min_rounds=5, **timing)
    return small_settings(home, device=device, timing=timing_defaults, sandbox={"uid_base": cell_uid(_ENGINE)})


def table(outcomes: list[Outcome], device: str) -> str:
    """A Markdown table of what came out."""
    rows = [("case", "verdict", "us", "honest us", "gain", "labels"), ("---",) * 6]
    for outcome in outcomes:
        case = outcome.evaluation.cases[0] if outcome.evaluation.cases else None
        timing, honest = (case.timing, case.ref_timing) if case else (None, None)
        labels = (*case.labels, *(timing.labels if timing else ())) if case else ()
        shows_gain = outcome.gain is not None and outcome.case.expected(device).honest_time
        row = (
            outcome.case.name,
            str(outcome.evaluation.verdict) + (" (!)" if outcome.problems else ""),
            f"{timing.stats.median * 1e3:.4g}" if timing else "",
            f"{honest.stats.median * 1e3:.4g}" if honest else "",
            f"{outcome.gain:.3f}" if shows_gain else "",
            ", ".join(dict.fromkeys(labels)),
        )
        rows.append(row)
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Judge the corpus and compare every verdict with the expected one.")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--only", nargs="+", default=[""], metavar="TEXT", help="cases whose name contains a TEXT")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write a Markdown table of the outcomes there")
    parser.add_argument("--say", action="store_true", help="print the message, the labels and the output of each case")
    asked = parser.parse_args(argv)
    chosen = [case for case in cases() if any(text in case.name for text in asked.only)]
    outcomes: list[Outcome] = []
    is_whole = False
    with tempfile.TemporaryDirectory(prefix="evald-corpus-") as home:
        bench = Bench(Path(home), asked.device)
        try:
            for case in chosen:
                if reason := case.left_out(bench.device):
                    print(f"  {'left out':18} {case.name}: {reason}")
                    continue
                for outcome in bench.judge(case):
                    outcomes.append(outcome)
                    _print(outcome, say=asked.say)
            is_whole = True
        except KeyboardInterrupt:
            print("cut short")
        finally:
            bench.close()
    if asked.table:
        asked.table.write_text(table(outcomes, bench.device), "utf-8")
    failed = sum(bool(outcome.problems) for outcome in outcomes)
    print(f"{len(outcomes) - failed} passed, {failed} failed")
    return 0 if outcomes and is_whole and not failed else 1


def _print(outcome: Outcome, *, say: bool) -> None:
    mark = "!" if outcome.problems else " "
    won = "" if outcome.gain is None else f", {outcome.gain:.2f} x the honest speed"
    print(f"{mark} {outcome.evaluation.verdict:18} {outcome.case.name} ({outcome.wall_s:.1f} s{won})", flush=True)
    for problem in outcome.problems:
        print(f"    {problem}", flush=True)
    if say:
        case = outcome.evaluation.cases[0] if outcome.evaluation.cases else None
        print(f"    message: {outcome.evaluation.message}")
        if case is not None:
            labels = (*case.labels, *(case.timing.labels if case.timing else ()))
            print(f"    labels: {', '.join(labels)}; notes: {case.notes}")
            print(f"    stdout: {case.stdout_tail!r}\n    stderr: {case.stderr_tail!r}", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
