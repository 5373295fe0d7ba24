"""A database that fails any one statement or commit, once, or loses its answer: nothing is lost or judged twice.

Every place in evald's code at which the database is asked is found by running it, and fails once
(`failing_statements.py`). What a real server does when it dies, `tests/service/test_service_outage.py` shows.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from faults_books import books_of, wrong

PLACES = 40  # there are about 60


def tried(folder: Path, kind: str, *what: str) -> list[dict[str, object]]:
    """The books of every run."""
    if kind == "postgres":
        import postgres_server

        try:
            with postgres_server.running():
                pass
        except postgres_server.PostgresMissing as missing:
            pytest.skip(str(missing))
    path = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
    return books_of("failing_statements.py", str(folder), kind, *what, env={"PATH": path})


def test_whatever_commit_loses_its_answer_once_nothing_is_lost_or_judged_twice(quick_disk: Path) -> None:
    """At all places in one run, one after the other; what is no commit fails."""
    [books] = tried(quick_disk, "sqlite", "all", "-io")
    assert wrong([books]) == []
    assert len(books["places"]) > PLACES  # type: ignore[arg-type]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        ("sqlite", ("locked", "full", "readonly", "cannot-open", "io")),
        ("postgres", ("lost", "-lost", "deadlock", "serialization", "lock", "full", "readonly", "slow")),
    ],
)
def test_whatever_statement_fails_once_nothing_is_lost_or_judged_twice(
    quick_disk: Path, kind: str, faults: tuple[str, ...]
) -> None:
    books = tried(quick_disk, kind, "all", *faults)
    assert wrong(books) == []
    assert len(books) == len(faults)


@pytest.mark.thorough
@pytest.mark.parametrize(("kind", "faults"), [("sqlite", ("locked", "-io")), ("postgres", ("lost", "-lost"))])
def test_one_statement_that_fails_costs_no_attempt(quick_disk: Path, kind: str, faults: tuple[str, ...]) -> None:
    books = tried(quick_disk, kind, "each", *faults)
    assert wrong(books) == []
    assert len(books) > PLACES
