"""The whole daemon as a process: drops, kills, stops, several at once."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from service_bundles import RIGHT, WRONG, contract, drop, result_of, write_bundle
from waiting import wait_for

from daemon.config import Settings
from daemon.db.connection import Database
from daemon.db.errors import StorageUnavailable
from daemon.db.history import History
from daemon.db.records import JobRecord
from daemon.lifecycle import JobState

pytestmark = pytest.mark.sandbox


# For what is asked of a daemon and of no verdict: a judge's start takes seconds of a processor.
REHEARSING = {"EVALD_ENGINE": "rehearsal", "EVALD_REHEARSAL_S": "0.05"}


def jobs_of(home: Path) -> tuple[JobRecord, ...]:
    """All jobs; none while the daemon has not made its database yet."""
    if not (home / "state" / "evald.sqlite3").exists():
        return ()
    database = Database(Settings(home=home).database_url)
    try:
        return History(database).jobs(limit=1000).jobs
    except StorageUnavailable:  # the file is there, its tables not yet
        return ()
    finally:
        database.close()


def is_running(home: Path, name: str) -> bool:
    return any(job.name == name and job.state is JobState.RUNNING for job in jobs_of(home))


def files_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_bundle_moved_into_the_inbox_of_a_running_daemon_gets_its_result_files(home: Path, start) -> None:
    daemon = start("run")
    wait_for((home / "inbox").is_dir, "the inbox")
    drop(home, "doubling", RIGHT)
    drop(home, "off-by-one", WRONG)
    (home / "outside" / "broken.json").write_text('{"kernel": 1}', "utf-8")
    (home / "outside" / "broken.json").rename(home / "inbox" / "broken.json")
    for name in ("doubling", "off-by-one", "broken.json"):
        wait_for(lambda name=name: result_of(home, name), f"the result of {name}")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(300) == 0
    verdicts = {name: result_of(home, name)["verdict"] for name in ("doubling", "off-by-one", "broken.json")}
    assert verdicts == {"doubling": "passed", "off-by-one": "wrong_answer", "broken.json": "rejected"}
    assert files_in(home / "inbox") == files_in(home / "work") == files_in(home / "results" / ".outbox") == []
    assert [name.split("@")[0] for name in files_in(home / "archive")] == ["doubling", "off-by-one"]
    (refused,) = (home / "rejected").iterdir()
    assert "kernel" in (refused / "reason.txt").read_text("utf-8")
    assert (refused / "broken.json").is_file()
    assert not list((home / "state" / "jobs").iterdir())


def test_a_daemon_times_its_control_when_a_result_is_out_and_tells_of_it_in_the_next_one(home: Path, start) -> None:
    daemon = start("run", EVALD_CONTROL_INTERVAL_S="0.001", EVALD_CONTROL_TOLERANCE="100")
    drop(home, "first", RIGHT)
    wait_for((home / "state" / "controls" / "cpu.json").exists, "the baseline")
    assert result_of(home, "first")["environment"]["control"] is None
    drop(home, "second", RIGHT)
    wait_for(lambda: result_of(home, "second"), "the result of the second")
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(300) == 0
    said = daemon.stdout.read()
    control = result_of(home, "second")["environment"]["control"]
    assert control is not None, said
    assert control["ratio"] > 0
    assert "the control has a baseline" in said
    assert [job.attempts for job in jobs_of(home)] == [1, 1]


def test_a_daemon_killed_in_the_middle_of_a_job_finishes_it_exactly_once_when_started_again(home: Path, start) -> None:
    drop(home, "victim", RIGHT.replace("        return", "        import time; time.sleep(0.4)\n        return"))
    first = start("run")
    wait_for(lambda: is_running(home, "victim"), "the job to run")
    first.send_signal(signal.SIGKILL)
    first.wait(300)
    assert result_of(home, "victim") is None
    second = start("sweep")
    assert second.wait(300) == 0, second.stdout.read()
    (job,) = jobs_of(home)
    assert (job.state, job.attempts, str(job.verdict)) == (JobState.FINISHED, 2, "passed")
    assert len(list((home / "results").glob("[0-9]*/*/result.json"))) == 1
    assert files_in(home / "work") == files_in(home / "inbox") == []


def test_an_interrupted_daemon_puts_its_bundles_back_into_the_inbox_under_their_names(home: Path, start) -> None:
    drop(home, "long", RIGHT)
    drop(home, "waiting", RIGHT)
    daemon = start("run", **{**REHEARSING, "EVALD_REHEARSAL_S": "600"})
    wait_for(lambda: any(job.state is JobState.RUNNING for job in jobs_of(home)), "a job to run")
    wait_for(lambda: len(jobs_of(home)) == 2, "both claimed")
    daemon.send_signal(signal.SIGINT)
    assert daemon.wait(300) == 0, daemon.stdout.read()
    assert files_in(home / "inbox") == ["long", "waiting"]
    assert files_in(home / "work") == []
    assert {job.state for job in jobs_of(home)} == {JobState.WITHDRAWN}
    assert not list((home / "results").glob("[0-9]*/*"))


def test_the_same_name_dropped_twice_is_two_jobs_that_share_their_source_hash(home: Path, start) -> None:
    said = {"problem": "double", "labels": {"of": "mine"}}
    drop(home, "twin", RIGHT, **said)
    assert start("sweep", **REHEARSING).wait(300) == 2  # a rehearsal passes nothing
    write_bundle(home / "outside2" / "twin", RIGHT, **said).rename(home / "inbox" / "twin")
    assert start("sweep", **REHEARSING).wait(300) == 2  # a rehearsal passes nothing
    first, second = jobs_of(home)
    assert first.job_id != second.job_id
    assert first.source_sha256 == second.source_sha256 is not None
    assert first.size_bytes == len(json.dumps(contract(RIGHT, **said)))
    shown = [json.loads(file.read_text("utf-8")) for file in (home / "results").glob("[0-9]*/*/result.json")]
    assert [told["source_sha256"] for told in shown] == [first.source_sha256] * 2
    assert [{key: told[key] for key in said} for told in shown] == [said] * 2
    assert {told["contract_sha256"] for told in shown} == {first.contract_sha256, second.contract_sha256} != {None}


def test_two_daemons_on_one_home_judge_each_bundle_once(home: Path, start) -> None:
    for number in range(4):
        drop(home, f"bundle{number}", RIGHT)
    daemons = [start("run", **REHEARSING), start("run", **REHEARSING)]
    wait_for(lambda: all(result_of(home, f"bundle{n}") for n in range(4)), "all results")
    for daemon in daemons:
        daemon.send_signal(signal.SIGTERM)
    assert [daemon.wait(300) for daemon in daemons] == [0, 0]
    jobs = jobs_of(home)
    assert sorted(job.name for job in jobs) == [f"bundle{number}" for number in range(4)]
    assert {(job.state, job.attempts) for job in jobs} == {(JobState.FINISHED, 1)}
    assert files_in(home / "work") == []


def test_a_bundle_that_never_becomes_complete_is_quarantined_with_the_reason(home: Path, start) -> None:
    torn = home / "inbox" / "torn"
    torn.mkdir(parents=True)
    (torn / "contract.json").write_text(json.dumps(contract())[:-20], "utf-8")
    daemon = start("run", EVALD_TORN_AFTER_S="1.5", EVALD_QUIET_S="1", **REHEARSING)
    wait_for(lambda: result_of(home, "torn"), "the result of the torn bundle")
    daemon.send_signal(signal.SIGTERM)
    daemon.wait(300)
    assert result_of(home, "torn")["verdict"] == "rejected"
    places = [path for shelf in ("quarantine", "rejected") for path in (home / shelf).iterdir()]
    assert len(places) == 1
    assert (places[0] / "torn" / "contract.json").exists()
    assert (places[0] / "reason.txt").read_text("utf-8")


def test_below_the_free_disk_mark_nothing_is_claimed_and_nothing_is_lost(home: Path, start) -> None:
    drop(home, "patient", RIGHT)
    daemon = start("run", EVALD_MIN_FREE_BYTES=str(1 << 60), **REHEARSING)
    line = ""
    while "MiB free" not in line:
        line = daemon.stdout.readline()
        assert line, "the daemon ended"
    daemon.send_signal(signal.SIGTERM)
    assert daemon.wait(300) == 0
    assert files_in(home / "inbox") == ["patient"]


def test_a_host_that_cannot_judge_refuses_to_start_and_touches_nothing(home: Path, start) -> None:
    drop(home, "untouched", RIGHT)
    lonely = home / "bin"
    lonely.mkdir()
    for tool in ("python3", "sh"):
        (lonely / tool).symlink_to(os.path.realpath(f"/usr/bin/{tool}"))
    daemon = start("run", PATH=str(lonely))
    assert daemon.wait(300) == 2
    assert "bubblewrap" in daemon.stdout.read()
    assert files_in(home / "inbox") == ["untouched"]


def test_a_host_whose_cells_do_not_start_ends_a_sweep_and_burns_no_attempts(home: Path, start) -> None:
    drop(home, "spared", RIGHT)
    sweep = start("sweep", EVALD_DEADLINES_START_S="0.01")
    assert sweep.wait(300) == 75
    said = sweep.stdout.read()
    assert "did not start" in said or "could not be built" in said  # whichever the hundredth of a second hits
    assert files_in(home / "inbox") == ["spared"]
    assert jobs_of(home) == ()
