"""A file server that fails any one call, once: nothing is lost or judged twice, no sender is blamed, no daemon ends.

Every place in evald's code at which a file call below the home is made is found by running it, and fails once
(`failing_calls.py`). What this shows is what a daemon makes of the answers; what a real file server answers, and when,
`tests/nfs` shows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from faults_books import books_of, wrong

HERE = Path(__file__).parent
PLACES = 250  # there are about 300


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    made = tmp_path_factory.mktemp("library") / "failing_calls.so"
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(made), str(HERE / "failing_calls.c"), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        pytest.skip(f"not for this C library: {done.stderr[:300]}")
    return made


def tried(folder: Path, library: Path, *what: str) -> list[dict[str, object]]:
    """The books of every run."""
    preloading = {**os.environ, "LD_PRELOAD": str(library)}
    return books_of("failing_calls.py", str(folder), str(library), *what, env=preloading)


def test_whatever_call_on_a_share_fails_once_nothing_is_lost_and_nobody_is_blamed(
    quick_disk: Path, library: Path
) -> None:
    """All places in one run, one after the other; the second time calls are made, and their replies are lost."""
    books = tried(quick_disk, library, "all", "ESTALE", "-ETIMEDOUT")
    assert wrong(books) == []
    assert [len(one["places"]) > PLACES for one in books] == [True] * 2  # type: ignore[arg-type]


@pytest.mark.parametrize(("calls", "answer"), [("read", "EAGAIN"), ("readlink,mkdir", "ESTALE")])
def test_one_call_of_these_that_fails_costs_no_attempt(
    quick_disk: Path, library: Path, calls: str, answer: str
) -> None:
    books = tried(quick_disk, library, f"each:{calls}", answer)
    assert wrong(books) == []
    assert len(books) >= 5


@pytest.mark.thorough
@pytest.mark.parametrize("answer", ["ESTALE", "ENOENT", "EAGAIN", "-ESTALE"])
def test_one_call_on_a_share_that_fails_costs_no_attempt(quick_disk: Path, library: Path, answer: str) -> None:
    books = tried(quick_disk, library, "each", answer)
    assert wrong(books) == []
    assert len(books) > (PLACES if not answer.startswith("-") else PLACES / 3)
