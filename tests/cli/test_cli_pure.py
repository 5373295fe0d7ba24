"""Durations, figures, exit codes."""

from __future__ import annotations

import json
import re
import sys
import time
import weakref
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from daemon import durations
from daemon.cli import failing, figures, live, outcome, report, screen
from daemon.cli.live import Board, Tally
from daemon.cli.screen import Column, Styled
from daemon.engine import Progress
from daemon.errors import EvaldError, OperatorError
from daemon.evaluation import Evaluation
from daemon.publishing import Finished
from daemon.verdict import Phase, Verdict


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("12h", timedelta(hours=12)),
        ("7d", timedelta(days=7)),
        (" 4W ", timedelta(weeks=4)),
    ],
)
def test_a_span_is_a_number_and_a_unit(text: str, span: timedelta) -> None:
    assert durations.parse_span(text, "--older-than") == span


def test_a_month_is_not_taken_for_a_minute() -> None:
    for text in ("1M", " 3 M"):
        with pytest.raises(OperatorError, match="minutes or months") as caught:
            durations.parse_span(text, "--older-than")
        assert "30d" in str(caught.value.hint)


@pytest.mark.parametrize("text", ["", "7", "d", "-7d", "7 years", "2026-13-01", "tomorrow", "999999999w"])
def test_what_is_neither_span_nor_date_names_the_option_and_shows_what_to_write(text: str) -> None:
    with pytest.raises(OperatorError, match="--since") as caught:
        durations.parse_since(text, "--since")
    assert caught.value.hint
    assert "7d" in caught.value.hint


def test_a_date_without_a_zone_is_utc() -> None:
    assert durations.parse_since("2026-01-31", "--since") == datetime(2026, 1, 31, tzinfo=UTC)
    assert durations.parse_since("2026-01-31T12:00+02:00", "--since") == datetime(2026, 1, 31, 10, tzinfo=UTC)


def test_an_age_cannot_lie_in_the_future() -> None:
    with pytest.raises(OperatorError, match="future"):
        durations.parse_span("2999-01-01", "--older-than")


def test_nothing_can_have_ended_since_a_moment_in_the_future() -> None:
    with pytest.raises(OperatorError, match="--since '2999-01-01' is in the future") as caught:
        durations.parse_since("2999-01-01", "--since")
    assert "UTC" in str(caught.value.hint)


def test_whoever_asks_since_now_may_have_a_clock_that_is_ahead() -> None:
    moment = datetime.now(UTC) + timedelta(minutes=5)
    assert durations.parse_since(moment.isoformat(), "since") == moment


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0 ns"),
        (0.00042, "420 ns"),
        (0.0123, "12.3 µs"),
        (0.9996, "1.00 ms"),
        (12.74, "12.7 ms"),
        (1234.0, "1.23 s"),
        (119e3, "119 s"),
        (150e3, "2.50 min"),
        (5.4e6, "90.0 min"),
        (9e6, "2.50 h"),
        (216e6, "2.50 d"),
    ],
)
def test_times_have_three_digits_and_a_unit(value: float | None, text: str) -> None:
    assert figures.milliseconds(value) == text


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ([], 0),
        ([Verdict.PASSED, Verdict.PASSED], 0),
        ([Verdict.PASSED, Verdict.WRONG_ANSWER], 1),
        ([Verdict.WRONG_ANSWER, Verdict.REJECTED], 2),
        ([Verdict.HARNESS_ERROR], 2),
        ([Verdict.UNSUPPORTED, Verdict.PASSED], 2),
    ],
)
def test_the_worst_verdict_is_the_exit_code(verdicts: list[Verdict], code: int) -> None:
    assert outcome.exit_code(verdicts) == code


def test_a_row_of_the_table_says_how_many_problems_more_a_rejected_bundle_has() -> None:
    def remark(verdict: Verdict, message: str, phase: Phase = Phase.INTAKE) -> str:
        return outcome.Line("0" * 32, "mine", verdict, phase, message, None, None, None, None).cells()[-1]

    assert remark(Verdict.REJECTED, "first") == "first"
    assert remark(Verdict.REJECTED, "first\nsecond\nthird") == "first (and 2 more)"
    assert remark(Verdict.REJECTED, f"{'x' * 500}\nsecond").endswith("… (and 1 more)")
    assert remark(Verdict.RUNTIME_ERROR, "first\nits traceback") == "first"
    assert (
        remark(Verdict.REJECTED, "the reference is at fault\nits traceback", Phase.CHECK) == "the reference is at fault"
    )


def test_an_infinite_error_is_no_row_of_digits() -> None:
    assert figures.plain(sys.float_info.max) == "infinite"
    assert figures.plain(1e300) == "1e+300"


def test_a_sparkline_has_one_mark_per_value_and_the_highest_is_full() -> None:
    assert figures.sparkline([0.0, 5.0, 10.0]) == "▁▄█"
    assert figures.sparkline([]) == ""
    assert figures.bar(0.5) == "█" * 8


def fitting(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int
) -> tuple[Sequence[Column], Sequence[Sequence[str]]]:
    found = screen._fitting(columns, rows, width)
    assert found is not None
    return found


def test_on_a_narrow_screen_a_picture_goes_before_a_figure_is_cut() -> None:
    columns = (screen.Column("NAME"), screen.Column("", drawn=True), screen.Column("TIME", right=True))
    rows = [["relu", "██████████", "1.234 ms"], ["sum", "█", "5 µs"]]
    assert fitting(columns, rows, 26) == (columns, rows)
    kept, cells = fitting(columns, rows, 25)
    assert [column.title for column in kept] == ["NAME", "TIME"]
    assert cells == [["relu", "1.234 ms"], ["sum", "5 µs"]]
    assert fitting(columns, [], 10)[0] == kept


def test_a_job_that_comes_again_has_one_line_on_the_board() -> None:
    board = Board()
    for _ in range(3):  # let go in between, of which nobody is told
        board.started("j", "relu")
    assert len(board.bars.tasks) == 2, "with the line that counts"


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0 %"), (0.044, "4.4 %"), (0.9949, "99 %"), (0.995, "> 99 %"), (999_999 / 1e6, "> 99 %"), (1.0, "100 %")],
)
def test_only_all_of_it_is_a_hundred_per_cent(share: float, text: str) -> None:
    assert figures.percent(share) == text


def test_of_what_a_sweep_judged_only_what_it_prints_is_kept() -> None:
    tally = Tally()
    evaluation = Evaluation(verdict=Verdict.REJECTED, phase=Phase.INTAKE, message="no contract")
    alive = weakref.ref(evaluation)
    tally.finished(Finished("1" * 32, "relu", evaluation))
    del evaluation
    assert alive() is None
    assert [(line.name, line.verdict, line.message) for line in tally.ended] == [
        ("relu", Verdict.REJECTED, "no contract")
    ]


def test_the_float_that_stands_for_infinity_is_called_so() -> None:
    assert [figures.plain(value) for value in (None, 0.25, sys.float_info.max)] == ["-", "0.25", "infinite"]


@pytest.mark.parametrize(
    ("largest", "relative", "text"),
    [(0.5, 0.25, "0.5 (relative 0.25)"), (0.0, 0.0, "0 (relative 0)"), (1.0, 0.0, "1"), (1.0, None, "1")],
)
def test_where_0_is_expected_no_relative_error_is_shown(largest: float, relative: float | None, text: str) -> None:
    assert figures.errors(largest, relative) == text


def test_names_give_way_before_figures_do() -> None:
    columns = (Column("NAME", shortened=True), Column("TIME", right=True), Column("WHY", flexible=True))
    name = "95_Matmul_Add_Swish_Tanh_GELU_Hardtanh-try-017"
    rows = [[Styled(name, "bold"), "123.4 us", "because it took far too long, as it said"]]
    _, [[shown, time, why]] = fitting(columns, rows, 70)
    assert (len(shown), shown[:8], shown[-7:], shown.style) == (28, name[:8], name[-7:], "bold")  # type: ignore[attr-defined]
    assert (time, why) == ("123.4 us", rows[0][2])
    assert fitting(columns, rows, 200) == (columns, rows)


def test_a_name_is_shortened_by_the_places_it_takes_not_by_its_characters() -> None:
    columns = (Column("NAME", shortened=True), Column("TIME", right=True))
    _, [[shown, _]] = fitting(columns, [["核" * 30, "123 us"]], 30)
    assert cell_len(shown) <= 30 - len("  123 us")
    assert (shown[0], shown[-1]) == ("核", "核")


def test_where_figures_have_no_room_side_by_side_each_stands_behind_its_title(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    columns = (
        Column("NAME", shortened=True),
        Column("JOB"),
        Column("", drawn=True),
        Column("TIME", right=True),
        Column("WHY", flexible=True),
    )
    rows = [["relu", "01a2256c536b79a7", "███", "46.7 us", ""], ["sum", "01a2256c536b79a8", "█", "1.23 s", "x" * 50]]
    monkeypatch.setattr(screen, "on_terminal", lambda _stream=None: True)
    monkeypatch.setenv("COLUMNS", "40")
    screen.table(columns, rows, indent=2)
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in capsys.readouterr().out.splitlines()] == [
        "  NAME relu  JOB 01a2256c536b79a7",
        "    TIME 46.7 us",
        "  NAME sum  JOB 01a2256c536b79a8",
        "    TIME 1.23 s",
        "    WHY " + "x" * 50,
    ]


def test_one_name_that_is_very_long_shifts_its_own_row_only(capsys: pytest.CaptureFixture[str]) -> None:
    screen.table((Column("NAME"), Column("TIME", right=True)), [["short", "1"], ["x" * 200, "2"], ["längst", "33"]])
    assert capsys.readouterr().out.splitlines() == [
        "NAME    TIME",
        "short      1",
        "x" * 200 + "     2",
        "längst    33",
    ]
    screen.table((Column("NAME"), Column("T")), [["x" * 100, "1"], ["y" * 120, "2"]])
    assert [line.index(end) for line, end in zip(capsys.readouterr().out.splitlines(), "T12", strict=True)] == [122] * 3


def test_a_plain_table_counts_places_and_not_characters(capsys: pytest.CaptureFixture[str]) -> None:
    screen.table((Column("NAME"), Column("T")), [["行列", "1"], ["abcdef", "2"]])
    assert capsys.readouterr().out.splitlines()[1] == "行列    1"


@pytest.mark.parametrize("is_terminal", [True, False])
def test_nothing_that_is_shown_drives_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    hostile = "a\x1b]0;owned\x07\x9b2J\u202eb\tc"
    monkeypatch.setattr(screen, "on_terminal", lambda _stream=None: is_terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    screen.line(hostile)
    screen.line(Styled(hostile, "red"))
    screen.marked(hostile, 1, "red")
    screen.fields([("name", f"{hostile}\n{hostile}")])
    screen.table((Column("NAME"),), [[hostile]])
    screen.say(hostile)
    screen.warn(hostile)
    failing.report(EvaldError(hostile, hint=hostile), as_json=False)
    said = capsys.readouterr()
    shown = re.sub(r"\x1b\[[0-9;]*m", "", said.out + said.err)  # ours
    assert not [c for c in shown if not c.isprintable() and c not in "\n\t"]
    assert shown.count(r"a\x1b]0;owned\x07\x9b2J\u202eb") == 9


def test_no_document_drives_the_terminal_and_its_values_are_as_they_were(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON itself lets \\x9b through, which is what a colour or a cursor begins with on some."""
    hostile = {"näme": "a\x1b]0;owned\x07\x9b2J\u202eb\tc\U000e0041 \udc9b\n行"}
    screen.document(hostile)
    said = capsys.readouterr().out
    assert not [c for c in said if not c.isprintable() and c != "\n"]
    assert "näme" in said and "行" in said
    assert json.loads(said) == hostile


def test_a_note_of_a_kernels_own_can_look_like_no_line_of_evalds(capsys: pytest.CaptureFixture[str]) -> None:
    report._notes({"notes": ["first\nverdict      passed"]}, [])
    assert capsys.readouterr().out.splitlines()[-2:] == ["  - first", "    verdict      passed"]


def test_a_long_judgement_says_now_and_then_in_a_log_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    said = ""
    with live.spoken("mine", every_s=0.01) as on_progress:
        on_progress(Progress("0" * 32, "checking 3/5", "N4096"))
        for _ in range(10_000):
            said += capsys.readouterr().err
            if "checking" in said:
                break
            time.sleep(0.01)
    assert "evald: mine: N4096 · checking 3/5\n" in said
    with live.spoken("quick", every_s=3600) as on_progress:
        on_progress(Progress("0" * 32, "checking 3/5"))
    assert "quick" not in capsys.readouterr().err
