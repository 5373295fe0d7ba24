"""The corpus on a CPU: every case gets its verdict, and no attack gains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

import corpus
import pytest

from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

# Most cases take a second or two, some ten: on a machine that is busy with other things ten times as long.
ENOUGH_S = 120


# Of what one thing holds, a case that is always judged or a test of another folder, the cases that try it in another
# dress: with `make test-thorough` and `make corpus` only.
DRESSES = {
    "executor/test_executor_answers.py::test_complex_numbers_are_inputs_and_answers": ("good/complex128-output",),
    "executor/test_executor_answers.py::test_of_many_small_answers_the_wrong_one_is_named": ("good/many-tensors",),
    "executor/test_executor_endings.py::test_nan_is_a_wrong_answer_unless_the_reference_has_it_too": (
        "good/nan-where-the-reference-has-it",
    ),
    "executor/test_executor_endings.py::test_more_memory_than_allowed_is_out_of_memory_and_names_the_limit": (
        "broken/memory-hog",
        "broken/memory-leak",
    ),
    "executor/test_executor_torch.py::test_nested_outputs_and_scalars_are_all_compared": ("good/nested-outputs",),
    "executor/test_executor_torch.py::test_the_legacy_form_is_a_compare": ("good/legacy-form",),
    "executor/test_executor_seccomp.py::test_the_filter_decides_by_number_and_argument": (
        "hostile/ahead-sigcont-timer",
        "hostile/contend-exit-notices",
        "hostile/contend-interval-timer",
        "hostile/contend-semaphore-arrays",
        "hostile/contend-sigcont-timer",
        "hostile/contend-timer-descriptors",
        "hostile/disturb-memory-policies",
    ),
    "executor/test_executor_endings.py::test_what_does_not_end_is_a_timeout_in_its_phase_and_everything_is_killed": (
        "broken/endless-loop",
    ),
    "faults/test_faults_bombs.py::test_every_bomb_is_stopped_by_its_own_limit_and_the_kernel_that_defuses_it_passes": (
        "hostile/disturb-fork-bomb",
        "hostile/disturb-full-disks",
    ),
    "faults/test_faults_bombs.py::test_memory_is_limited_for_all_processes_together_and_is_back_before_the_next_start": (
        "hostile/disturb-memory-hog",
    ),
    "faults/test_faults_output.py::test_hundreds_of_megabytes_without_a_newline_keep_64_kib_of_each_end_of_each_stream": (
        "hostile/disturb-output-flood",
    ),
    "faults/test_faults_output.py::test_lines_that_look_like_results_on_either_stream_or_in_a_file_decide_nothing": (
        "good/prints-to-stdout",
    ),
    "good/expanded-view": ("good/non-contiguous-view",),
    "hostile/ahead-told-by-locks": ("hostile/ahead-told-by-lookups",),
    "hostile/ahead-polling-thread": ("hostile/ahead-process", "hostile/replay-by-fingerprint-early"),
    "hostile/batch-short-calls": ("hostile/batch-short-own-clock",),
    "hostile/clock-libc-got": ("hostile/clock-aliases", "hostile/clock-code-swap", "hostile/clock-inline-detour"),
    "hostile/clock-patched-module": ("hostile/clock-caller-frames", "hostile/clock-namespaces"),
    "hostile/const-input-passed-on": ("hostile/const-input-flattened",),
    "hostile/const-of-weights": ("hostile/const-of-weights-once",),
    "hostile/const-one-output": ("hostile/const-outputs-mixed",),
    "hostile/contend-spinning-processes": ("hostile/disturb-spinners",),
    "hostile/inflate-warm-up": ("hostile/inflate-first-call-of-round", "hostile/inflate-small-rounds"),
    "hostile/lazy-torch-dispatch": ("hostile/lazy-fake-tensor", "hostile/lazy-torch-function"),
    "hostile/precision-beside-large-rows": ("hostile/precision-beside-large-numbers",),
    "hostile/replay-by-content": ("hostile/replay-by-fingerprint",),
    "hostile/replay-by-version": ("hostile/replay-by-id", "hostile/replay-by-pointer", "hostile/replay-by-shape"),
    "hostile/replay-few-contents": ("hostile/replay-few-drawn",),
    "hostile/theft-memory-scan": ("hostile/theft-gc-objects",),
    "wrong/only-in-the-second-case": ("good/several-cases",),
}
THOROUGH = frozenset(name for names in DRESSES.values() for name in names)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[corpus.Bench]:
    bench = corpus.Bench(tmp_path_factory.mktemp("corpus"), "cpu")
    yield bench
    bench.close()


def named() -> Iterator[object]:
    for name in (case.name for case in corpus.cases() if case.left_out("cpu") is None):
        yield pytest.param(name, id=name, marks=pytest.mark.thorough if name in THOROUGH else ())


@pytest.mark.parametrize("name", list(named()))
def test_a_case_gets_its_verdict(bench: corpus.Bench, name: str) -> None:
    for outcome in bench.judge(corpus.Case(corpus.FOLDER / name)):
        assert not outcome.problems, outcome.evaluation.model_dump_json(indent=1)


def test_what_is_left_out_is_there_and_held_by_something_that_is_not() -> None:
    known = {case.name for case in corpus.cases()}
    assert known >= THOROUGH
    for holder in DRESSES:
        path, _, test = holder.partition("::")
        if test:
            assert f"def {test}(" in (corpus.FOLDER.parent / path).read_text("utf-8"), holder
        else:
            assert holder in known - THOROUGH


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_expectation_says_why(device: str) -> None:
    for case in corpus.cases():
        expected = case.expected(device)
        assert expected.why, case.name
        assert expected.tries or not case.name.startswith(("hostile/", "good/")), case.name
        if case.name.startswith("good/"):
            assert expected.verdicts == (Verdict.PASSED,), case.name


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
