"""How the daemon counts what it tells about itself."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from daemon.health import Health, Monitor
from daemon.http.meters import Meters
from daemon.lifecycle import JobState
from daemon.notify import Notifier

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


class Slow:
    """A history whose full count takes a second by the clock of the test."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.asked: list[int] = []

    def counts_by_state(self, states: Collection[JobState] = tuple(JobState)) -> dict[JobState, int]:
        self.asked.append(len(states))
        self.now_s += 1.0 if len(states) == len(JobState) else 0.0
        return dict.fromkeys(states, len(self.asked))

    def last_finished_at(self) -> None:
        return None


def test_ended_jobs_are_counted_the_more_rarely_the_longer_that_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history: Any = Slow()
    monkeypatch.setattr("daemon.health.time.monotonic", lambda: history.now_s)
    metrics = tmp_path / "evald.prom"
    monitor = Monitor(Notifier(), history, slots=1, metrics_file=metrics)
    for _ in range(5):
        history.now_s += 11
        monitor.turn(inbox=0, running=0, judged=0, drained=0, trouble=None)
    every, unfinished = len(JobState), 3
    assert history.asked == [every, unfinished, unfinished, unfinished, unfinished]
    lines = metrics.read_text().splitlines()
    assert 'evald_jobs{state="queued"} 5' in lines
    assert 'evald_jobs{state="finished"} 1' in lines
    history.now_s += 51
    monitor.turn(inbox=0, running=0, judged=0, drained=0, trouble=None)
    assert history.asked[-1] == every


def test_of_two_that_have_one_metrics_file_the_first_keeps_it_until_it_ends(tmp_path: Path) -> None:
    history: Any = Slow()
    metrics = tmp_path / "evald.prom"
    daemon, sweep = (Monitor(Notifier(), history, slots=slots, metrics_file=metrics) for slots in (1, 2))

    def turn(monitor: Monitor, judged: int) -> list[str]:
        monitor._reported_s -= 60.0
        monitor.turn(inbox=0, running=0, judged=judged, drained=0, trouble=None)
        return metrics.read_text().splitlines()

    with daemon.watching():
        assert "evald_judged_total 5" in turn(daemon, 5)
        with sweep.watching():
            assert "evald_judged_total 5" in turn(sweep, 1)
        assert "evald_up 1" in metrics.read_text().splitlines(), "a sweep that ends is no daemon that ends"
    assert "evald_up 0" in metrics.read_text().splitlines()
    with sweep.watching():
        assert "evald_judged_total 2" in turn(sweep, 2)


def rows_of(exposition: str) -> list[str]:
    """The table of the page that says what these figures are."""
    words = [line.split(" ", 3)[2:] for line in exposition.splitlines() if line.startswith("# ")]
    return [
        f"| `{name}` | {kind} | {meaning} |" for (name, meaning), (_, kind) in zip(words[::2], words[1::2], strict=True)
    ]


def test_the_page_of_metrics_has_every_figure_there_is_and_no_other() -> None:
    history: Any = Slow()
    of_a_daemon = Health(1).prometheus(up=True, started_s=0, now_s=0)
    of_a_server = Meters(history, lambda: 0, lambda: 0).exposition()
    told = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("| `evald_")]
    assert sorted(told) == sorted([*rows_of(of_a_daemon), *rows_of(of_a_server)])
