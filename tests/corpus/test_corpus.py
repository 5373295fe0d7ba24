"""The corpus on a CPU: every case gets its verdict, and no attack gains."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import corpus
import pytest
import random_modules

from daemon.evaluation import Evaluation
from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

# Most cases take a second or two, some ten: on a machine that is busy with other things ten times as long.
ENOUGH_S = 120


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[corpus.Bench]:
    bench = corpus.Bench(tmp_path_factory.mktemp("corpus"), "cpu")
    yield bench
    bench.close()


def named() -> list[str]:
    return [case.name for case in corpus.cases() if case.left_out("cpu") is None]


@pytest.mark.parametrize("name", named())
def test_a_case_gets_its_verdict(bench: corpus.Bench, name: str) -> None:
    for outcome in bench.judge(corpus.Case(corpus.FOLDER / name)):
        assert not outcome.problems, outcome.evaluation.model_dump_json(indent=1)


@pytest.mark.parametrize(
    "number", [*range(6), *(pytest.param(number, marks=pytest.mark.thorough) for number in range(6, 120))]
)
def test_a_module_made_at_random_passes_against_itself_and_not_with_an_element_spoilt(
    bench: corpus.Bench, tmp_path: Path, number: int
) -> None:
    assert not [*random_modules.problems(bench.engine, number, tmp_path)]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_expectation_says_why(device: str) -> None:
    for case in corpus.cases():
        expected = case.expected(device)
        assert expected.why, case.name
        assert expected.tries or not case.name.startswith(("hostile/", "good/")), case.name
        if case.name.startswith("good/"):
            assert expected.verdicts == (Verdict.PASSED,), case.name


def test_what_three_cases_have_is_shared_and_what_is_shared_is_used() -> None:
    found = Counter(path.read_bytes() for kind in corpus.CLASSES for path in (corpus.FOLDER / kind).rglob("*.py"))
    assert not [text for text, count in found.items() if count > 2]
    every = [one for case in corpus.cases() for one in (case, case.after) if one is not None]
    used = [(one.folder / name, shared) for one in every for name, shared in one.expected("cpu").shares.items()]
    assert not [place for place, _ in used if place.exists()]
    assert {shared for _, shared in used} == {path.name for path in corpus.SHARED.glob("*.py")}


def test_what_is_judged_on_a_cpu_has_time_enough_on_a_busy_one_too() -> None:
    """Unless its time limit is what it is about, or may end it."""
    for case in corpus.cases():
        if case.left_out("cpu") is not None or Verdict.TIMEOUT in case.expected("cpu").verdicts:
            continue
        for one in filter(None, (case, case.after)):
            with suppress(ValueError):  # some are no contracts
                written = json.loads((one.folder / "contract.json").read_bytes())
                if written:
                    assert written.get("timeout", ENOUGH_S) >= ENOUGH_S, one.name


@pytest.mark.parametrize(
    ("problems", "may_be"),
    [
        (("label less_exact is missing",), True),
        (("label batched is missing", "looked 4.0 times as fast"), True),
        (("label less_exact is missing", "verdict wrong_answer"), False),
        (("label weak_check is missing",), False),
        ((), False),
    ],
)
def test_only_what_a_busy_machine_may_have_brought_about_is_judged_again(
    problems: tuple[str, ...], *, may_be: bool
) -> None:
    outcome = corpus.Outcome(corpus.Case(corpus.FOLDER), Evaluation.broken("nothing was judged"), problems, 0.0)
    assert outcome.may_be_chance is may_be
