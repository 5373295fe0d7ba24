"""The result document and its way to the reader."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from daemon import fsio, pointers, result_document, results
from daemon.evaluation import CaseEvaluation, Environment, Evaluation, Failure, RuntimeStats, Timing
from daemon.paths import Paths
from daemon.verdict import Comparison, Phase, Side, Verdict

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def timing(mean_ms: float) -> Timing:
    stats = RuntimeStats(
        mean=mean_ms, std=0.0, min=mean_ms, max=mean_ms, median=mean_ms, percentile_95=mean_ms, percentile_99=mean_ms
    )
    return Timing(
        stats=stats, interval_ms=(mean_ms, mean_ms),
        mode="stream", samples_ms=(mean_ms,), calls=(1,), c0_us=1.0, c0_slope_us=0.0,
        rse=None, target_rse=0.01, stop="time",
    )  # fmt: skip


def case(name: str, mean_ms: float, speedup: float) -> CaseEvaluation:
    return CaseEvaluation(
        name=name, verdict=Verdict.PASSED, phase=Phase.REPORT, compiled=True, correctness=True,
        timing=timing(mean_ms), ref_timing=timing(mean_ms * speedup), speedup=speedup,
    )  # fmt: skip


def passed(*cases: CaseEvaluation) -> Evaluation:
    return Evaluation(verdict=Verdict.PASSED, phase=Phase.REPORT, cases=cases, environment=Environment(evald="1"))


def test_a_single_case_gives_the_fields_existing_clients_read() -> None:
    document = result_document.compose(
        result_document.Subject("1" * 32, "add"), passed(case("default", 0.00123456789, 2.0)), NOW
    )
    executed = document["kernel_exec_result"]
    assert (document["status"], document["verdict"], document["gpu_type"]) == ("success", "passed", "cpu")
    assert (executed["compiled"], executed["correctness"], executed["runtime"]) == (True, True, 0.00123456789)
    assert executed["runtime_stats"]["percentile_95"] == 0.00123456789
    assert document["ref_runtime"]["mean"] == pytest.approx(0.00246913578)
    assert document["speedup"] == 2.0


def test_several_cases_give_the_sum_of_times_and_the_geometric_mean_of_speedups() -> None:
    document = result_document.compose(
        result_document.Subject("1" * 32, "add"), passed(case("a", 1.0, 2.0), case("b", 3.0, 8.0)), NOW
    )
    assert document["kernel_exec_result"]["runtime"] == 4.0
    assert document["kernel_exec_result"]["runtime_stats"] is None
    assert document["speedup"] == pytest.approx(4.0)
    assert [entry["name"] for entry in document["cases"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ((Comparison.FASTER,), "faster"),
        ((Comparison.FASTER, Comparison.FASTER), "faster"),
        ((Comparison.FASTER, Comparison.CANNOT_TELL), None),
        ((Comparison.FASTER, None), None),
        ((None, None), None),
    ],
    ids=str,
)
def test_a_comparison_is_what_all_cases_say(found: tuple[Comparison | None, ...], told: str | None) -> None:
    cases = [case(str(number), 1.0, 2.0).model_copy(update={"comparison": one}) for number, one in enumerate(found)]
    assert result_document.compose(result_document.Subject("1" * 32, "add"), passed(*cases), NOW)["comparison"] == told


@pytest.mark.parametrize(
    ("verdict", "status", "compilation", "validation"),
    [
        (Verdict.COMPILE_ERROR, "success", "why", None),
        (Verdict.WRONG_ANSWER, "success", None, "why"),
        (Verdict.TIMEOUT, "success", None, "why"),
        (Verdict.REJECTED, "error", None, "why"),
        (Verdict.UNSUPPORTED, "error", None, "why"),
        (Verdict.HARNESS_ERROR, "error", None, "why"),
    ],
)
def test_every_failure_says_why_in_the_field_its_clients_look_at(
    verdict: Verdict, status: str, compilation: str | None, validation: str | None
) -> None:
    failure = Failure(phase=Phase.CHECK, side=Side.CANDIDATE, message="why")
    failed = CaseEvaluation(name="default", verdict=verdict, phase=Phase.CHECK, failure=failure)
    evaluation = Evaluation(verdict=verdict, phase=Phase.CHECK, message="why", cases=(failed,))
    document = result_document.compose(result_document.Subject("1" * 32, "add"), evaluation, NOW)
    executed = document["kernel_exec_result"]
    assert (document["status"], executed["compilation_error"], executed["validation_error"]) == (
        status, compilation, validation,
    )  # fmt: skip
    assert executed["runtime"] is None
    assert document["speedup"] is None


def test_a_result_cannot_hold_what_json_cannot_say() -> None:
    with pytest.raises(ValueError, match="JSON"):
        result_document.as_json({"value": math.nan})


def test_text_that_utf_8_cannot_say_is_written_escaped_wherever_it_comes_from(paths: Paths) -> None:
    odd, escaped = 'a\udcff\ud800"é', 'a\\udcff\\ud800"é'
    tool_reports = {"counters.csv": odd, "\udcff.txt": "x"}
    build, notes = {"log": [odd]}, (odd,)
    one = case(odd, 1.0, 2.0).model_copy(update={"build": build, "notes": notes, "tool_reports": tool_reports})
    evaluation = Evaluation(verdict=Verdict.REJECTED, phase=Phase.INTAKE, message=odd, cases=(one,), notes=notes)
    subject = result_document.Subject("1" * 32, odd, problem=odd, labels={odd: odd})
    waiting = results.stage(paths, result_document.compose(subject, evaluation, NOW), evaluation, 1)
    assert (waiting.document()["message"], waiting.evaluation().message) == (escaped, escaped)
    assert waiting.document()["labels"] == {escaped: escaped}
    assert waiting.document()["cases"][0]["build"] == waiting.evaluation().cases[0].build == {"log": [escaped]}
    assert (waiting.folder / "counters.csv").read_text("utf-8") == escaped
    final = results.release(paths, waiting, NOW, odd)
    assert json.loads((final / "samples.json").read_text("utf-8"))[0]["case"] == escaped


def test_a_staged_result_is_invisible_until_released_and_releasing_twice_is_harmless(paths: Paths) -> None:
    document = result_document.compose(
        result_document.Subject("1" * 32, "na/me"), passed(case("default", 1.0, 1.0)), NOW
    )
    waiting = results.stage(paths, document, passed(), 3)
    assert [found.fence for found in results.staged(paths)] == [3]
    assert waiting.evaluation() == passed()
    assert not list(paths.results.glob("[0-9]*"))
    final = results.release(paths, waiting, NOW, "na/me")
    assert final == paths.results / "2026-01" / ("1" * 32)
    assert json.loads((paths.results / "by-name" / "na_me" / "result.json").read_text("utf-8")) == document
    assert sorted(file.name for file in final.iterdir()) == ["result.json", "samples.json"]
    again = results.stage(paths, document, passed(), 4)
    assert results.release(paths, again, NOW, "na/me") == final
    assert list(results.staged(paths)) == []


@pytest.mark.parametrize("name", ["..", ".", "../../etc", "a\nb", "x" * 500, "é" * 300, "\udcff"])
def test_any_name_becomes_one_harmless_path_component(name: str) -> None:
    cleaned = results.file_name(name)
    assert cleaned not in ("", ".", "..")
    assert "/" not in cleaned
    assert len(cleaned.encode()) <= 200


def remove(paths: Paths, job_id: str) -> None:
    """As a cleanup does."""
    [folder] = results.released(paths, job_id)
    fsio.remove_tree(folder)


def test_removing_a_result_leaves_others_and_their_names(paths: Paths) -> None:
    for number, name in (("1", "one"), ("2", "two")):
        document = result_document.compose(result_document.Subject(number * 32, name), passed(), NOW)
        results.release(paths, results.stage(paths, document, passed(), 1), NOW, name)
    remove(paths, "1" * 32)
    assert results.released(paths, "1" * 32) == []
    assert results.mend_names(paths, lambda _, uid: None) == 1
    assert [link.name for link in (paths.results / "by-name").iterdir()] == ["two"]


def test_a_name_whose_newest_result_went_points_at_the_newest_that_is_left(paths: Paths) -> None:
    for number in ("1", "2"):
        document = result_document.compose(result_document.Subject(number * 32, "one"), passed(), NOW)
        kept = results.release(paths, results.stage(paths, document, passed(), 1), NOW, "one")
    remove(paths, "2" * 32)
    left = kept.with_name("1" * 32)
    assert results.mend_names(paths, {"one": left}.get) == 1
    assert (paths.results / "by-name" / "one").resolve() == left
    assert results.mend_names(paths, {"one": left}.get) == 0


def test_what_somebody_has_packed_beside_the_months_is_none_of_them(paths: Paths) -> None:
    document = result_document.compose(result_document.Subject("1" * 32, "one"), passed(), NOW)
    results.release(paths, results.stage(paths, document, passed(), 1), NOW, "one")
    for name in ("2025-12.tar.gz", "2099-01.tar.gz"):
        (paths.results / name).write_bytes(b"")
    assert [month.name for month in results.months(paths)] == ["2026-01"]
    assert results.shown_in(paths)[-1] == paths.results / "2026-01"
    assert results.released(paths, "1" * 32) == [paths.results / "2026-01" / ("1" * 32)]


def released(paths: Paths, number: str, name: str, uid: int | None) -> Path:
    document = result_document.compose(result_document.Subject(number * 32, name), passed(), NOW)
    return results.release(paths, results.stage(paths, document, passed(), 1), NOW, name, uid)


def test_a_users_name_leads_to_his_own_result_whatever_others_call_theirs(paths: Paths) -> None:
    mine = released(paths, "1", "soft/max", 1000)
    theirs = released(paths, "2", "soft/max", 2000)
    nobodys = released(paths, "3", "soft/max", None)
    assert (paths.results / "by-user" / "1000" / "soft_max").resolve() == mine
    assert (paths.results / "by-user" / "2000" / "soft_max").resolve() == theirs
    assert (paths.results / "by-name" / "soft_max").resolve() == nobodys


def test_a_users_name_whose_newest_result_went_leads_to_the_newest_that_is_left_of_his(paths: Paths) -> None:
    left = released(paths, "1", "one", 1000)
    for number, uid in (("2", 1000), ("3", 2000)):
        released(paths, number, "one", uid)
    assert results.linked(paths, {"2" * 32}) == {"one": "one"}
    for number in "23":
        remove(paths, number * 32)
    asked: list[tuple[str, int | None]] = []

    def newest(name: str, uid: int | None) -> Path | None:
        asked.append((name, uid))
        return left if uid in (None, 1000) else None

    assert results.mend_names(paths, newest) == 3
    assert sorted(asked, key=str) == [("one", 1000), ("one", 2000), ("one", None)]
    assert (paths.results / "by-user" / "1000" / "one").resolve() == left
    assert [folder.name for folder in (paths.results / "by-user").iterdir()] == ["1000"], "he has none left"


def test_a_name_goes_on_leading_to_what_was_judged_last_when_an_older_result_is_released_late(paths: Paths) -> None:
    document = result_document.compose(result_document.Subject("1" * 32, "one"), passed(), NOW)
    waiting = results.stage(paths, document, passed(), 1)
    newest = released(paths, "2", "one", 1000)
    (newest / "result.json").touch()  # however coarse the clock of the disk is
    os.utime(waiting.folder / "result.json", ns=(0, 0))
    late = results.release(paths, waiting, NOW, "one", 2000)
    assert (paths.results / "by-name" / "one").resolve() == newest
    assert (paths.results / "by-user" / "1000" / "one").resolve() == newest
    assert (paths.results / "by-user" / "2000" / "one").resolve() == late
    remove(paths, "2" * 32)
    results.mend_names(paths, lambda _, uid: late if uid is None else None)
    assert released(paths, "3", "one", None) == (paths.results / "by-name" / "one").resolve()


def test_a_name_does_not_lead_to_what_was_judged_while_the_clock_was_ahead(paths: Paths) -> None:
    tomorrow_ns = time.time_ns() + 86_400_000_000_000
    ahead = released(paths, "1", "one", 1000)
    os.utime(ahead / "result.json", ns=(tomorrow_ns, tomorrow_ns))
    newest = released(paths, "2", "one", 1000)
    assert (paths.results / "by-name" / "one").resolve() == newest
    assert (paths.results / "by-user" / "1000" / "one").resolve() == newest


@pytest.mark.parametrize("when", ["before its name is looked at", "while its name is mended"])
def test_a_name_leads_to_a_result_that_is_released_while_names_are_mended(
    paths: Paths, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    earlier = released(paths, "1", "one", None)
    released(paths, "2", "one", None)
    remove(paths, "2" * 32)
    document = result_document.compose(result_document.Subject("3" * 32, "one"), passed(), NOW)
    final = results.folder_of(paths, "3" * 32, NOW)
    everyone = pointers.everyone

    def meanwhile(*_: object) -> Path:
        results.stage(paths, document, passed(), 1)
        fsio.point_at(paths.results / "by-name" / "one", final)  # as `release` begins
        return earlier

    def begun(of: Paths) -> list[pointers.Pointer]:
        meanwhile()
        return everyone(of)

    if when == "before its name is looked at":
        monkeypatch.setattr(pointers, "everyone", begun)
    assert results.mend_names(paths, meanwhile) == 0
    [waiting] = results.staged(paths)
    results.release(paths, waiting, NOW, "another")
    assert (paths.results / "by-name" / "one").resolve() == final


def test_a_name_stays_whose_result_is_released_between_two_looks_at_it(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    released(paths, "1", "other", None)
    document = result_document.compose(result_document.Subject("3" * 32, "one"), passed(), NOW)
    found = list[results.Staged]()
    fsio.point_at(paths.results / "by-name" / "one", results.folder_of(paths, "3" * 32, NOW))
    staged = results.staged

    def too_late(of: Paths) -> Iterator[results.Staged]:
        for waiting in found:
            results.release(paths, waiting, NOW, "one")
        return staged(of)

    def newest(*_: object) -> None:
        found.append(results.stage(paths, document, passed(), 1))

    monkeypatch.setattr(results, "staged", too_late)
    assert results.mend_names(paths, newest) == 0
    assert (paths.results / "by-name" / "one" / "result.json").is_file()


def test_links_say_whose_results_they_point_at(paths: Paths) -> None:
    """A link's name is the job's made harmless: the database does not know it."""
    document = result_document.compose(result_document.Subject("1" * 32, "soft/max"), passed(), NOW)
    results.release(paths, results.stage(paths, document, passed(), 1), NOW, "soft/max")
    assert results.linked(paths, {"1" * 32}) == {"soft_max": "soft/max"}
    assert results.linked(paths, {"2" * 32}) == {}


def test_the_name_of_a_result_that_a_kill_left_in_the_outbox_stays(paths: Paths) -> None:
    document = result_document.compose(result_document.Subject("1" * 32, "one"), passed(), NOW)
    waiting = results.stage(paths, document, passed(), 1)
    by_name = paths.results / "by-name"
    by_name.mkdir()
    (by_name / "one").symlink_to(f"../2026-01/{'1' * 32}")
    assert results.mend_names(paths, lambda _, uid: None) == 0
    results.release(paths, waiting, NOW, "one")
    assert (by_name / "one" / "result.json").is_file()


def test_a_visible_result_says_all_that_the_engine_had_answered_but_what_tools_wrote(paths: Paths) -> None:
    failure = Failure(phase=Phase.CHECK, side=Side.CANDIDATE, message="off by one")
    wrong = CaseEvaluation(name="b", bind={"N": 3}, verdict=Verdict.WRONG_ANSWER, phase=Phase.CHECK, failure=failure)
    timed = case("a", 0.1, 1 / 3).model_copy(update={"tool_reports": {"memcheck.txt": "x"}, "labels": ("weak_check",)})
    answered = passed(timed, wrong).model_copy(update={"notes": ("slow",), "evaluate_ms": 2.5})
    document = result_document.compose(result_document.Subject("1" * 32, "add"), answered, NOW)
    folder = results.release(paths, results.stage(paths, document, answered, 1), NOW, "add")
    expected = answered.model_copy(update={"cases": (timed.model_copy(update={"tool_reports": {}}), wrong)})
    assert results.evaluation_of(folder) == (document, expected)


def test_counters_stand_where_clients_look_and_the_tools_own_reports_lie_beside_the_result(paths: Paths) -> None:
    counted = {"custom_device_metrics": {"speed_of_light": {"compute_throughput_pct": 40.0}}}
    one = case("default", 1.0, 2.0).model_copy(
        update={
            "device_metrics": counted,
            "tool_reports": {"counters-candidate.csv": '"ID"\n', "../../memcheck.txt": "x"},
        }
    )
    document = result_document.compose(result_document.Subject("1" * 32, "add"), passed(one), NOW)
    assert document["kernel_exec_result"]["metadata"]["device_metrics"] == counted
    assert "tool_reports" not in document["cases"][0]
    waiting = results.stage(paths, document, passed(one), 1)
    folder = results.release(paths, waiting, NOW, "add")
    assert sorted(entry.name for entry in folder.iterdir()) == [
        "_.._memcheck.txt", "counters-candidate.csv", "result.json", "samples.json",
    ]  # fmt: skip
    assert results.released(paths, "1" * 32) == [folder]
