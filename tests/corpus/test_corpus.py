"""The corpus on a CPU: every case gets its verdict, and no attack gains."""

from __future__ import annotations

from collections.abc import Iterator

import corpus
import pytest

from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox


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


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_expectation_says_why(device: str) -> None:
    for case in corpus.cases():
        expected = case.expected(device)
        assert expected.why, case.name
        assert expected.tries or not case.name.startswith(("hostile/", "good/")), case.name
        if case.name.startswith("good/"):
            assert expected.verdicts == (Verdict.PASSED,), case.name
