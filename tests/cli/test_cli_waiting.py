"""What `evald submit --wait` asks the database while it waits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cli_homes import PastHome, passed
from sqlalchemy import event
from sqlalchemy.engine import Engine

from daemon.cli import waiting
from daemon.cli.outcome import Line
from daemon.intake.submit import Dropped


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every statement of this process, as it is executed."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


def test_a_look_at_many_jobs_asks_no_more_questions_than_one_at_a_few(past: PastHome, statements: list[str]) -> None:
    dropped = [Dropped("one", past.queued("one")) for _ in range(40)]
    asked = []
    for number in (2, 40):
        statements.clear()
        waiting._look(past.settings, dropped[:number], {})
        asked.append(len(statements))
    assert asked[0] == asked[1] > 0


def test_a_look_tells_what_ended_what_runs_and_what_no_host_can_serve(past: PastHome) -> None:
    ended = past.ended("done", passed())
    busy, unserved, queued = (
        past.leased("busy").job_id,
        past.deferred("picky", "it requires a GPU"),
        past.queued("next"),
    )
    others = past.leased("another's").job_id
    mine = [Dropped("dropped", job_id) for job_id in (ended, busy, unserved, queued, "f" * 32)]
    found: dict[str, Line] = {}
    states, deferrals, served = waiting._look(past.settings, mine, found)
    assert list(found) == [ended] and found[ended].name == "done"
    assert states == ["busy: checking 3/5"]
    assert [(one.job_id, one.reason) for one in deferrals] == [(unserved, "it requires a GPU")]
    assert served
    assert waiting._look(past.settings, [Dropped("mine", queued)], {})[::2] == ([], True), f"{others} is being judged"
