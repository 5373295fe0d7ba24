"""Whose power is cut, again and again, loses no bundle and judges none twice.

What this shows: a kernel of its own (user-mode Linux 6.1) with ext4, killed in whatever it does; what it had not
flushed is gone. The daemon is the real `evald run`, with the rehearsal engine, on SQLite. What it said is the witness:
a job whose end was told and that runs again was forgotten.

What it does not show: a disk that loses its own write cache, other file systems, judging (nothing is run).
"""

from __future__ import annotations

import json
import random
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from power_house import House

from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.records import AttemptOutcome
from daemon.lifecycle import JobState

pytestmark = pytest.mark.power
CUTS = 5
BATCH = 8
SOURCE = "class Model(nn.Module):\n    def forward(self): return torch.ones(1)\n"


@dataclass
class Facts:
    """What was told, and what lies there in the end. `told`: (running or finished, job), in order. `published`: names,
    once for each publication."""

    dropped: list[str]
    told: list[tuple[str, str]]
    jobs: dict[str, JobState]
    published: list[str]
    files: list[str]
    named: list[str]


def test_no_power_cut_loses_or_doubles_a_bundle(house: House, tmp_path: Path) -> None:
    dropped: list[str] = []
    for _ in range(CUTS):
        enough = len(told(house.log)) + random.randint(2, 2 * BATCH)
        house.start()
        dropped += drop(house, tmp_path, len(dropped))
        house.wait(lambda enough=enough: len(told(house.log)) >= enough, "the daemon to be in the middle of it")
        time.sleep(random.uniform(0, 0.2))
        house.cut()
        house.switch_on()
    house.start()
    house.wait(house.is_tidy, "everything to be judged and put away")
    house.stop()
    require_each_judged_once(look(house, dropped))
    assert "Traceback" not in house.log
    assert "harness fault" not in house.log


def drop(house: House, folder: Path, first: int) -> list[str]:
    batch = folder / f"batch{first}"
    names = [f"bundle{number}" for number in range(first, first + BATCH)]
    for name in names:
        contract = {"name": name, "kernel": {"kernel_type": "torch", "source_code": f"# {name}\n{SOURCE}"}}
        (batch / name).mkdir(parents=True)
        (batch / name / "contract.json").write_text(json.dumps(contract), "utf-8")
    house.drop(batch)
    return names


def told(log: str) -> list[tuple[str, str]]:
    return re.findall(r"info +(running|finished) +job=(\w+)", log)


def look(house: House, dropped: list[str]) -> Facts:
    seen = house.look()
    database = Database(f"sqlite:///{seen / 'evald.sqlite3'}")
    try:
        history = History(database)
        jobs = history.jobs(limit=1000).jobs
        published = [
            job.name
            for job in jobs
            for attempt in history.attempts(job.job_id)
            if attempt.outcome is AttemptOutcome.PUBLISHED
        ]
    finally:
        database.close()
    return Facts(
        dropped=dropped,
        told=told(house.log),
        jobs={job.job_id: job.state for job in jobs if job.state is not JobState.WITHDRAWN},
        published=published,
        files=seen.with_name(f"{seen.name}.list").read_text("utf-8").splitlines(),
        named=seen.with_name(f"{seen.name}.named").read_text("utf-8").splitlines(),
    )


def require_each_judged_once(facts: Facts) -> None:
    ended: set[str] = set()
    for word, job in facts.told:
        assert job not in ended, f"{word} again: {job}"
        if word == "finished":
            ended.add(job)
    assert sorted(facts.published) == sorted(facts.dropped)
    assert set(facts.jobs.values()) == {JobState.FINISHED}
    assert len(facts.jobs) == len(facts.dropped)
    assert ended <= set(facts.jobs)
    below = {folder: below_of(facts.files, folder) for folder in ("inbox", "work", "quarantine", "rejected", "archive")}
    assert sorted(name.partition("@")[0] for name in below.pop("archive")) == sorted(facts.dropped)
    assert below == {folder: [] for folder in below}
    results = [Path(path).parts for path in facts.files if path.endswith("/result.json")]
    assert sorted(parts[-2] for parts in results) == sorted(facts.jobs)
    assert sorted(Path(path).name for path in facts.named) == sorted(facts.jobs)
    assert not [path for path in facts.files if "/.tmp-" in path or path.startswith("./results/.outbox/")]


def below_of(files: list[str], folder: str) -> list[str]:
    """The names right below `folder`."""
    return [parts[1] for parts in (Path(path).parts for path in files) if parts[0] == folder and len(parts) == 2]


@pytest.mark.parametrize(
    "changes",
    [
        {"told": [("finished", "a"), ("running", "a")]},
        {"published": ["one", "one", "two"]},
        {"jobs": {"a": JobState.FINISHED}},
        {"files": ["./archive/one@a", "./results/2026-11/a/result.json", "./results/2026-11/b/result.json"]},
        {"named": ["/results/2026-11/a"]},
    ],
    ids=["judged again", "published twice", "lost", "not put away", "without a name"],
)
def test_the_books_notice_what_is_lost_or_doubled(changes: dict[str, object]) -> None:
    files = ["./archive/one@a", "./archive/two@b"] + [f"./results/2026-11/{job}/result.json" for job in "ab"]
    right = {
        "dropped": ["one", "two"],
        "told": [("running", "a"), ("running", "b"), ("finished", "a"), ("finished", "b")],
        "jobs": {"a": JobState.FINISHED, "b": JobState.FINISHED},
        "published": ["one", "two"],
        "files": files,
        "named": ["/results/2026-11/a", "/results/2026-11/b"],
    }
    require_each_judged_once(Facts(**right))  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        require_each_judged_once(Facts(**(right | changes)))  # type: ignore[arg-type]
