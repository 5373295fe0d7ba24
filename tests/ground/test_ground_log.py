"""Story lines: one line each, whatever is in the fields."""

from __future__ import annotations

import logging
import os
import re
import shlex
import subprocess
import sys
import time

import pytest

from daemon import log


def connect_to_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have stderr look as if systemd had connected it. Not in a fixture: pytest gives a test another file for it than
    what sets the test up."""
    status = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")


def test_a_story_is_one_line_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("info")
    log.story("claimed", job="0123", name="two words", nothing=None)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith('info    claimed job=0123 name="two words"')


def test_a_field_cannot_forge_a_second_line(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("info")
    log.story("claimed", name="a\nb\x1b[31m")
    (line,) = capsys.readouterr().err.splitlines()
    assert "a\\nb\\x1b[31m" in line


def test_an_exception_cannot_forge_a_line_either(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the journal each line is a message, of the priority that it begins with."""
    connect_to_the_journal(monkeypatch)
    log.setup("info")
    try:
        raise ValueError("of a name: x\n<0>the disk is gone\x1b[31m")
    except ValueError:
        log.LOGGER.exception("a bug in evald")
    first, *others = capfd.readouterr().err.removesuffix("\n").split("\n")
    assert first == "<3>a bug in evald"
    assert others[-1] == r"  <0>the disk is gone\x1b[31m"
    assert {line[:2] for line in others} == {"  "}


def test_letters_beside_what_has_to_be_escaped_stay_readable(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("info")
    log.story("waiting", reason="hö me\nno \\n")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(r'reason="hö me\nno \\n"')


@pytest.mark.parametrize(
    "value",
    ['x" verdict=passed job="', 'x\\" verdict=passed job=\\"', 'a\n" verdict=passed', "two words\\", "back\\slash"],
)
def test_a_field_cannot_forge_another_field(capsys: pytest.CaptureFixture[str], value: str) -> None:
    log.setup("info")
    log.story("claimed", name=value, verdict="rejected")
    (line,) = capsys.readouterr().err.splitlines()
    fields = line.partition("claimed ")[2]
    assert [word.partition("=")[0] for word in shlex.split(fields)] == ["name", "verdict"]
    if value.isprintable() and " " in value:
        assert shlex.split(fields)[0] == f"name={value}"


def test_under_the_journal_a_priority_stands_in_front(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_to_the_journal(monkeypatch)
    log.setup("info")
    log.story("trouble", level=40, job="1")
    assert capfd.readouterr().err == "<3>trouble job=1\n"
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")  # of the shell that started us, whose stderr is another one
    log.setup("info")
    log.story("trouble", level=40, job="1")
    assert capfd.readouterr().err.endswith("Z error   trouble job=1\n")


@pytest.mark.parametrize(
    ("is_terminal", "begins"), [(True, r"\d\d:\d\d:\d\d info "), (False, r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ info ")]
)
def test_a_line_in_a_file_has_its_date(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, is_terminal: bool, begins: str
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    log.setup("info")
    log.story("claimed")
    assert re.match(begins, capsys.readouterr().err)


def test_below_the_level_nothing_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("warning")
    log.story("detail")
    assert capsys.readouterr().err == ""


def test_a_message_cannot_forge_a_second_line_either(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("info")
    log.LOGGER.warning("cannot take %s", "a\n12:00:00 info finished")
    (line,) = capsys.readouterr().err.splitlines()
    assert "a\\n12:00:00 info finished" in line


def test_what_a_library_says_goes_where_the_story_goes(capsys: pytest.CaptureFixture[str]) -> None:
    log.setup("info")
    log.adopt("some.library", logging.ERROR)
    logging.getLogger("some.library").warning("of no interest")
    logging.getLogger("some.library.part").error("broken")
    said = capsys.readouterr().err
    assert said.endswith("error   broken\n")
    assert "of no interest" not in said


def test_a_complaint_is_said_at_once_and_then_at_most_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s, told = [1000.0], list[object]()
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    monkeypatch.setattr(log, "story", lambda *_, reason, **__: told.append(reason))
    complaint = log.Complaint()
    for at_s in (1000.0, 1059.0, 1060.0, 1119.0):
        now_s[0] = at_s
        complaint.say(at_s)
    log.Complaint().say("another")
    assert told == [1000.0, 1060.0, "another"]


def test_a_line_is_written_where_nothing_more_can_be_opened() -> None:
    """Python looks for a file when something is escaped for the first time."""
    code = (
        "import os, resource, sys; from daemon import log; log.setup('info')\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3)); log.LOGGER.error('two\\nlines')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stderr.count("\n") == 1
    assert r"two\nlines" in done.stderr
