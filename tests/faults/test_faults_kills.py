"""kill -9 at every durable step in turn; SIGTERM twice; starts that must fail without touching a bundle."""

from __future__ import annotations

import json
import signal
import sqlite3
from pathlib import Path

import pytest
from service_bundles import result_of
from service_rehearsal import SOURCE, Place
from waiting import wait_for

from daemon import failpoints
from daemon.db.records import JobRecord

WHILE_STOPPING = ("give_back.withdrawn", "give_back.renamed")
# Steps that only a start after a kill comes through: each with the step at which the daemon before it is killed.
AFTER = {"reconcile.replayed": "result.staged", "reconcile.settled": "result.published"}
PATIENT = {"MAX_ATTEMPTS": "100", "LEASE_S": "3"}


def killed_at(here: Place, step: str, **settings: str) -> None:
    daemon = here.start(TEST_FAILPOINTS=f"{step}=1", **{**PATIENT, **settings})
    assert daemon.process.wait(300) == -signal.SIGKILL, f"{step}: {daemon.story[-2000:]}"


def all_judged_once(here: Place, *names: str) -> None:
    last = here.start(**PATIENT)
    wait_for(lambda: here.has_results(*names), "every result")
    wait_for(lambda: here.faults(*names) == [], "everything put away")
    assert last.stop() == 0
    assert here.faults(*names) == []


def test_a_daemon_killed_at_every_step_in_turn_loses_nothing_and_doubles_nothing(here: Place) -> None:
    steps = [step for step in failpoints.STEPS if step not in WHILE_STOPPING]
    for step in steps:
        if step == "run.deferred":
            drop_for_a_gpu(here, step)
            killed_at(here, step, DEVICE="cpu")
            continue
        here.drop(step)
        if step in AFTER:
            killed_at(here, AFTER[step])
        killed_at(here, step)
    all_judged_once(here, *steps)


def test_moves_that_a_power_cut_undid_are_made_again(here: Place) -> None:
    """Nothing waits for the disk once the database knows the verdict: the moves after it may be gone."""
    names = ["nothing", "bundle", "result", "result+bundle", "result+name", "result+name+bundle"]
    here.drop(*names)
    first = here.start()
    wait_for(lambda: here.has_results(*names) and here.faults(*names) == [], "every result")
    assert first.stop() == 0
    for name, job in here.jobs().items():
        for move in name.split("+"):
            undo(here, move, job)
    assert [name for name in names if not result_of(here.home, name)] == [name for name in names if "result" in name]
    all_judged_once(here, *names)
    archived = [entry.name.partition(".json@")[0] for entry in (here.home / "archive").iterdir()]
    assert sorted(archived) == sorted(names)


def undo(here: Place, move: str, job: JobRecord) -> None:
    """As if the disk had never heard of that move of a job that has ended."""
    if move == "name":
        (here.home / "results" / "by-name" / job.name).unlink()
    elif move == "result":
        [released] = (here.home / "results").glob(f"[0-9]*/{job.job_id}")
        released.rename(here.home / "results" / ".outbox" / f"{job.job_id}.{job.fence}")
    elif move == "bundle":
        [archived] = (here.home / "archive").glob(f"*@{job.job_id}")
        archived.rename(here.home / "work" / job.work_name)


@pytest.mark.parametrize("step", WHILE_STOPPING)
def test_a_daemon_killed_while_it_gives_its_bundles_back_loses_nothing_and_doubles_nothing(
    here: Place, step: str
) -> None:
    here.drop("unfinished")
    daemon = here.start(TEST_FAILPOINTS=f"{step}=1", is_held=True, **PATIENT)
    wait_for(lambda: here.state("unfinished") == "running", "the job to run")
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(300) == -signal.SIGKILL, daemon.story[-2000:]
    all_judged_once(here, "unfinished")


def drop_for_a_gpu(here: Place, name: str) -> None:
    document = {
        "name": name,
        "requires": {"gpu": "H200"},
        "kernel": {"kernel_type": "torch", "source_code": SOURCE},
    }
    (here.home / "outside").mkdir(exist_ok=True)
    (here.home / "outside" / name).write_text(json.dumps(document), "utf-8")
    (here.home / "outside" / name).rename(here.home / "inbox" / f"{name}.json")


def test_a_second_sigterm_may_end_it_at_once_and_the_next_start_judges_the_job_once(here: Place) -> None:
    here.drop("unlucky")
    daemon = here.start(is_held=True, LEASE_S="3")
    wait_for(lambda: here.state("unlucky") == "running", "the job to run")
    daemon.signal(signal.SIGTERM)
    wait_for(lambda: "stopping" in daemon.story, "the first to be heard")
    daemon.signal(signal.SIGTERM)
    assert daemon.process.wait(300) in (0, -signal.SIGTERM)
    second = here.start(LEASE_S="3")
    wait_for(lambda: settled(here), "the end")
    assert second.stop() == 0
    assert here.faults("unlucky") == []


def settled(here: Place) -> bool:
    return here.has_results("unlucky") and here.faults("unlucky") == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"SLOTZ": "3"}, "EVALD_SLOTZ"),
        ({"SLOTS": "none"}, "slots"),
        ({"DATABASE": "mysql://host/name"}, "mysql"),
        ({"CONFIG": "/nowhere/evald.toml"}, "no settings file at /nowhere/evald.toml"),
    ],
    ids=["unknown", "malformed", "database", "file"],
)
def test_wrong_settings_fail_at_once_with_one_line_and_no_bundle_is_touched(
    here: Place, settings: dict[str, str], words: str
) -> None:
    here.drop("untouched")
    done = here.evald("run", **settings)
    assert done.returncode == 2
    assert words in the_error(done.stderr)
    assert [entry.name for entry in (here.home / "inbox").iterdir()] == ["untouched.json"]


def the_error(text: str) -> str:
    """The one line that says what is wrong; what was said before it and the advice after it are no errors."""
    lines = [line for line in text.splitlines() if line.startswith("evald: ") and "warning" not in line]
    assert len(lines) == 1 and "Traceback" not in text, text
    return lines[0]


def test_a_schema_too_new_fails_at_once_with_one_line_and_no_bundle_is_touched(here: Place) -> None:
    here.drop("early")
    assert here.evald("sweep").returncode in (0, 1, 2)
    here.drop("untouched")
    with sqlite3.connect(here.home / "state" / "evald.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    done = here.evald("run")
    assert done.returncode == 2
    assert "newer" in the_error(done.stderr)
    assert [entry.name for entry in (here.home / "inbox").iterdir()] == ["untouched.json"]
    assert not list(Path(here.home / "work").iterdir())


@pytest.mark.parametrize("what", ["another", "cut"])
def test_a_damaged_database_file_fails_at_once_says_what_to_do_and_is_left_as_it_is(here: Place, what: str) -> None:
    here.drop("early")
    assert here.evald("sweep").returncode in (0, 1, 2)
    here.drop("untouched")
    file = here.home / "state" / "evald.sqlite3"
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = b"no database at all\n" * 1000 if what == "another" else file.read_bytes()[:5000]
    file.write_bytes(content)
    done = here.evald("run")
    assert done.returncode == 2, done.stderr
    assert "refused" in the_error(done.stderr)
    assert "restore a backup" in done.stderr
    assert [entry.name for entry in (here.home / "inbox").iterdir()] == ["untouched.json"]
    assert file.read_bytes() == content
