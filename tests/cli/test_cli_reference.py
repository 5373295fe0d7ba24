"""The reference says what the code says, and no setting is there for nothing."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cli_homes import passed, wrong

import daemon
from daemon import config, result_document
from daemon.cli import reference
from daemon.cli.root import SECTIONS, SUMMARIES, evald
from daemon.executor.tools.roofline import BELOW_FLOOR
from daemon.result_document import Subject

DOCS = Path(__file__).parents[2] / "docs" / "reference"
PACKAGE = Path(daemon.__file__).parent


@pytest.mark.parametrize(
    ("file", "page"), [("cli.md", reference.cli), ("settings.md", reference.settings), ("http.md", reference.http)]
)
def test_the_generated_pages_are_fresh(file: str, page: Any) -> None:
    hint = "type: python -m daemon.cli.reference write docs/reference"
    assert (DOCS / file).read_text("utf-8") == page().rstrip("\n") + "\n", hint


def test_every_command_file_is_listed_and_documented() -> None:
    text = (DOCS / "cli.md").read_text("utf-8")
    with_commands = {
        path.stem.replace("_", "-") for path in (PACKAGE / "cli").glob("*.py") if "\n@click." in path.read_text()
    } - {"root"}
    assert with_commands == set(SUMMARIES) == {name for section in SECTIONS.values() for name in section}
    for name in SUMMARIES:
        assert f"## evald {name}\n" in text


def test_every_command_takes_json_and_has_help() -> None:
    for name in SUMMARIES:
        command = evald.get_command(None, name)  # type: ignore[arg-type]
        for one in getattr(command, "commands", {name: command}).values():
            assert one.help
            assert "as_json" in {parameter.name for parameter in one.params}, name


def test_what_every_command_prints_with_json_is_written_down() -> None:
    text = (DOCS / "exit-codes-and-results.md").read_text("utf-8")
    table = text.partition("## What the commands print with --json")[2]
    told = {
        name for row in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE) for name in re.findall(r"`([a-z-]+)", row)
    }
    assert told == set(SUMMARIES) - {"mcp"}  # which speaks a protocol of its own


def test_every_setting_has_a_description() -> None:
    assert [key for key, field in config.describe() if not field.description] == []


def readers(pattern: str) -> list[str]:
    sources = [path for path in PACKAGE.rglob("*.py") if path.name != "config.py" or path.parent.name == "cli"]
    return [path.name for path in sources if re.search(pattern, path.read_text("utf-8"))]


def test_every_setting_is_read_somewhere() -> None:
    """`paths` and `database_url` stand for the settings they are made of."""
    through_properties = {"home", "inbox", "results", "state", "database", "database_file"}
    sections = {"timing": r"(timing|rules|defaults|limits)"}
    unread = []
    for key, _ in config.describe():
        section, _, name = key.rpartition(".")
        owner = sections.get(section, section) if section else "settings"
        if name not in through_properties and not readers(rf"\b_?{owner}\.{name}\b"):
            unread.append(key)
    assert unread == []
    assert readers(r"settings\.paths\b")
    assert readers(r"settings\.database_url\b")


def test_a_setting_nobody_reads_would_be_noticed() -> None:
    assert readers(r"\bsettings\.no_such_setting\b") == []


def keys(value: Any) -> set[str]:
    found = set()
    if isinstance(value, dict):
        found = set(value) | {key for inner in value.values() for key in keys(inner)}
    elif isinstance(value, list):
        found = {key for inner in value for key in keys(inner)}
    return found


def test_every_label_has_its_row() -> None:
    figures = (PACKAGE / "executor" / "timing" / "figures.py").read_text("utf-8")
    of_timings = figures.partition("def _labels(")[2].partition("return [")[0]
    of_cases = "".join(path.read_text("utf-8") for path in (PACKAGE / "executor" / "cases").glob("*.py"))
    known = {BELOW_FLOOR, *re.findall(r'"(\w+)": ', of_timings)}
    known |= set(re.findall(r'(?:labels|found)\.append\("(\w+)"\)', of_cases))
    table = (DOCS / "exit-codes-and-results.md").read_text("utf-8").partition("### Labels")[2].partition("###")[0]
    rows = re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == known


def test_every_field_of_a_result_is_documented() -> None:
    text = (DOCS / "exit-codes-and-results.md").read_text("utf-8")
    documented = set(re.findall(r"`(\w+)`", text))
    for evaluation in (passed(), wrong()):
        document = result_document.compose(Subject("0" * 32, "n"), evaluation, datetime.now(UTC))
        assert keys(json.loads(result_document.as_json(document))) - documented == set()
    assert {"samples_ms", "calls", "case", "side"} <= documented | set(re.findall(r'"(\w+)":', text))
