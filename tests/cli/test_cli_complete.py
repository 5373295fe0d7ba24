"""What a shell is offered when somebody presses tab."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cli_homes import PastHome, bundle, passed
from click.shell_completion import BashComplete

from daemon.cli.root import evald as group


def offered(*words: str) -> dict[str, str]:
    """What is offered for the last of `words`, each with its type: plain text, file or dir."""
    *before, begun = words
    completer = BashComplete(group, {}, "evald", "_EVALD_COMPLETE")
    return {item.value: item.type for item in completer.get_completions(before, begun)}


@pytest.mark.parametrize("command", ["eval", "submit", "validate"])
def test_bundles_are_files_which_the_shell_completes(command: str) -> None:
    assert offered(command, "exam") == {"exam": "file"}


@pytest.mark.parametrize(
    "words", [("run", "--home", "/tm"), ("--state", "/tm"), ("install-service", "--prefix", "/tm")]
)
def test_places_are_folders(words: tuple[str, ...]) -> None:
    assert offered(*words) == {"/tm": "dir"}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("st",), {"status", "stats"}),
        (("--ver",), {"--version"}),
        (("run", "--log-level", "d"), {"debug"}),
        (("run", "--device", ""), {"auto", "cpu", "cuda"}),
        (("stats", "--by", "p"), {"problem"}),
        (("new", "torch"), {"torch", "torch-compare", "torch_cuda"}),
        (("stauts", "x"), set()),
    ],
)
def test_words_are_those_that_begin_so(words: tuple[str, ...], expected: set[str]) -> None:
    assert set(offered(*words)) == expected


@pytest.mark.parametrize("command", ["status", "show", "cancel"])
def test_jobs_are_offered_by_name_and_by_the_digits_that_were_begun(command: str, past: PastHome) -> None:
    job_id = past.ended("softmax-v2", passed())
    bundle(past.settings.paths.inbox / "waits")
    home = str(past.settings.home)
    assert set(offered("--home", home, command, "")) == {"softmax-v2", "waits"}
    assert set(offered(command, "--home", home, "soft")) == {"softmax-v2"}
    assert set(offered(command, "--home", home, job_id[:6])) == {job_id}


def test_no_jobs_are_offered_where_nobody_can_be_asked(tmp_path: Path) -> None:
    assert offered("status", "--home", str(tmp_path / "nowhere"), "") == {}
    assert offered("status", "--set", "nonsense", "") == {}
    (tmp_path / "evald.toml").write_text("slots = [", "utf-8")
    assert offered("status", "--home", str(tmp_path), "") == {}


def test_the_command_speaks_with_the_shell() -> None:
    told = {"_EVALD_COMPLETE": "bash_complete", "COMP_WORDS": "evald eval ex", "COMP_CWORD": "2"}
    argv = [sys.executable, "-m", "daemon"]
    ran = subprocess.run(argv, env=os.environ | told, capture_output=True, text=True, check=True)
    assert ran.stdout == "file,ex\n"
