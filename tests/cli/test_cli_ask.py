"""status, show, stats: as text and as JSON."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_homes import PastHome, bundle, passed, wrong
from conftest import Evald

from daemon.cli import screen
from daemon.cli.overview import _ended_last
from daemon.config import Settings
from daemon.db.daemon_records import DaemonNote
from daemon.db.history import History
from daemon.engine import DeviceState
from daemon.evaluation import Evaluation
from daemon.intake.names import make_job_id


def test_status_shows_counts_what_runs_what_waits_and_what_ended(evald: Evald, past: PastHome) -> None:
    past.ended("done", passed())
    past.ended("off", wrong())
    past.queued("later")
    lease = past.leased("busy")
    (past.settings.paths.inbox / "torn").mkdir()
    (past.settings.paths.inbox / ".hidden").mkdir()
    bundle(past.settings.paths.inbox / "whole")

    text = evald("status").out
    for words in (
        "2 waiting",
        "1 with hidden",
        "2 finished",
        "1 queued",
        "checking 3/5",
        "host-boot-1",
        "wrong_answer",
    ):
        assert words in text
    assert "waits for its contract.json" in text
    assert "complete, waits to be taken" in text

    told = evald("status", "--json").document()
    assert told["jobs"]["finished"] == 2
    assert told["inbox"]["waiting"] == 2
    assert {entry["name"]: entry["complete"] for entry in told["inbox"]["entries"]} == {"torn": False, "whole": True}
    assert [(job["job_id"], job["progress"]) for job in told["running"]] == [(lease.job_id, "checking 3/5")]
    assert [job["name"] for job in told["last_finished"]] == ["off", "done"]


def test_status_shows_what_waits_for_a_device_where_and_why(evald: Evald, past: PastHome) -> None:
    past.queued("ordinary")
    assert "waiting for a device" not in evald("status").out
    job_id = past.deferred("picky", "it requires H200, this host has L4")
    text = evald("status").out
    for words in ("waiting for a device", "NOT ON", "2 queued", "picky", "it requires H200, this host has L4"):
        assert words in text
    (told,) = evald("status", "--json").document()["deferrals"]
    assert (told["job_id"], told["name"], told["host"]) == (job_id, "picky", "host")
    for wanted in ("picky", job_id):
        assert "host: it requires H200, this host has L4" in evald("status", wanted).out
        (told,) = evald("status", wanted, "--json").document()["deferrals"]
        assert (told["owner"], told["reason"]) == ("host-boot-1", "it requires H200, this host has L4")
    assert evald("status", "ordinary", "--json").document()["deferrals"] == []
    assert "deferred" in evald("show", job_id).out


def test_status_counts_what_it_does_not_show_of_many_that_wait_for_a_device(evald: Evald, past: PastHome) -> None:
    for number in range(12):
        past.deferred(f"picky{number}", "it requires a GPU")
    assert "and 2 more" in evald("status").out


def test_status_shows_devices_unless_all_are_fit_cpus(evald: Evald, past: PastHome) -> None:
    cpu = DeviceState(0, "cpu", "cpu", None)
    note = DaemonNote("plain-boot-1", "plain", 1, "0", 1, "/srv/inbox", 60, (cpu,))
    past.daemons.report(note)
    assert "\ndevices\n" not in evald("status").out
    fit = DeviceState(0, "cuda", "NVIDIA H200", "GPU-1f")
    sick = DeviceState(1, "cuda", "NVIDIA H200", "GPU-2f", "Xid 79: it fell off the bus")
    past.daemons.report(DaemonNote("gpus-boot-1", "gpus", 2, "0", 2, "/srv/inbox", 60, (fit, sick)))
    text = evald("status").out
    for words in ("\ndevices\n", "NVIDIA H200 (GPU-1f)", "ready", "drained: Xid 79: it fell off the bus"):
        assert words in text
    assert "ready, but" not in text
    first, second = evald("status", "--json").document()["daemons"]
    assert [device["reason"] for device in first["devices"]] == [None, "Xid 79: it fell off the bus"]
    assert [device["kind"] for device in second["devices"]] == ["cpu"]
    past.daemons.mark_stopped("gpus-boot-1")
    assert "Xid 79" not in evald("status").out, "nobody knows how it is by now"


def test_status_shows_a_device_that_has_changed_also_a_cpu_and_that_it_takes_jobs(evald: Evald, past: PastHome) -> None:
    changed = DeviceState(0, "cpu", "cpu", None, drift="its control kernel takes 12 % longer since noon")
    past.daemons.report(DaemonNote("plain-boot-1", "plain", 1, "0", 1, "/srv/inbox", 60, (changed,)))
    assert "ready, but its control kernel takes 12 % longer" in evald("status").out
    [daemon] = evald("status", "--json").document()["daemons"]
    assert (daemon["devices"][0]["reason"], daemon["devices"][0]["drift"]) == (None, changed.drift)


def test_status_works_before_the_first_run(evald: Evald, tmp_path: Path) -> None:
    bundle(tmp_path / "evald-home" / "inbox" / "mine")
    ran = evald("status")
    assert ran.code == 0
    assert "none yet" in ran.out
    mine = evald("status", "mine")
    assert (mine.code, mine.out.splitlines()[0]) == (0, "waiting in the inbox")
    assert "did you mean mine" in evald("status", "mina").err


def test_stats_and_cleanup_find_nothing_before_anything_was_judged(evald: Evald, tmp_path: Path) -> None:
    (tmp_path / "evald-home" / "inbox").mkdir(parents=True)
    cleaned = evald("cleanup")
    assert (cleaned.code, "removed 0 jobs" in cleaned.out) == (0, True), cleaned.err
    for grouping in ("verdict", "label:author"):
        assert evald("stats", "--by", grouping, "--json").document()["groups"] == []
    assert "no job has ended yet" in evald("stats").err
    assert evald("stats", "--problem", "any", "--json").document()["leaderboard"] == []
    assert evald("stats", "--by", "nothing").code == 2


def test_status_works_while_the_first_run_has_not_filled_its_database(evald: Evald, tmp_path: Path) -> None:
    home = Settings(home=tmp_path / "evald-home").paths
    home.create()
    (home.state / "evald.sqlite3").touch()
    ran = evald("status")
    assert (ran.code, "none yet" in ran.out) == (0, True), ran.err


def test_status_finds_a_job_by_name_by_id_and_by_the_first_digits(evald: Evald, past: PastHome) -> None:
    past.ended("same", wrong())
    newest = past.ended("same", passed())
    for wanted in ("same", newest, newest[:16]):
        ran = evald("status", wanted)
        assert ran.code == 0
        assert newest in ran.out
        assert "passed" in ran.out
    told = evald("status", "same", "--json").document()
    assert told["job"]["job_id"] == newest
    assert told["inbox"] == []


@pytest.mark.parametrize("command", ["status", "show", "cancel"])
def test_the_beginning_of_an_id_is_not_taken_for_the_name_of_another_job(
    evald: Evald, past: PastHome, command: str
) -> None:
    """What `evald status` prints to be typed may be what somebody has called a bundle of his."""
    meant = past.queued("meant")
    past.queued(meant[:16])
    ran = evald(command, meant[:16])
    assert (ran.code, ran.out) == (2, "")
    assert f"the id of {meant} begins with" in ran.err
    ran = evald(command, meant)
    assert (ran.code, meant in ran.out) == (0, True), ran.err


def test_a_short_word_of_hex_digits_is_a_name(evald: Evald, past: PastHome) -> None:
    """Ids of requests with an idempotency key begin with any digits."""
    past.queued("meant")
    named = past.queued(past.queued("another")[:4])
    assert evald("status", named[:4], "--json").document()["job"]["job_id"] == named


def test_what_is_cancelled_by_its_id_is_not_what_waits_under_that_name(evald: Evald, past: PastHome) -> None:
    meant, inbox = past.queued("meant"), past.settings.paths.inbox
    (inbox / meant[:16]).mkdir()
    ran = evald("cancel", meant[:16])
    assert (ran.code, f"{meant}  cancelled" in ran.out) == (0, True), ran.err
    waits = make_job_id()
    (inbox / f"waits@{waits}").mkdir()
    (inbox / waits).mkdir()
    ran = evald("cancel", waits)
    assert (ran.code, f"{waits}  cancelled" in ran.out) == (0, True), ran.err
    assert sorted(entry.name for entry in inbox.iterdir()) == sorted((meant[:16], waits))


def test_status_of_a_name_shows_the_bundle_that_still_waits(evald: Evald, past: PastHome) -> None:
    past.ended("mine", passed())
    (past.settings.paths.inbox / "mine.json").write_text("{")
    told = evald("status", "mine", "--json").document()
    assert told["job"]["verdict"] == "passed"
    assert told["inbox"][0]["reason"] == "not complete JSON yet"
    assert "judged before" in evald("status", "mine").out


def test_an_unknown_name_is_answered_with_the_nearest(evald: Evald, past: PastHome) -> None:
    past.ended("softmax_v1", passed())
    for command in ("status", "show"):
        ran = evald(command, "softmx_v1")
        assert ran.code == 2
        assert "softmax_v1" in ran.err


def test_show_tells_everything_about_a_job(evald: Evald, past: PastHome) -> None:
    job_id = past.ended("off", wrong(), problem="sums")
    text = evald("show", job_id).out
    for words in (
        job_id,
        "wrong_answer",
        "output differs",
        'File "kernel.py", line 3',
        "worst: out[1, 2]",
        "author=anna",
        "sums",
        "published",
        "result.json",
        f"off@{job_id}",
    ):
        assert words in text
    assert "\x1b" not in text

    told = evald("show", "off", "--json").document()
    assert set(told) == {"job", "result", "evaluations", "attempts", "events", "files", "inbox"}
    assert told["result"]["verdict"] == "wrong_answer"
    assert all(Path(place).exists() for place in told["files"].values())
    assert [event["kind"] for event in told["events"]][-1] == "published"


def test_show_of_a_bundle_that_waits_says_so_and_where_it_is(evald: Evald, past: PastHome) -> None:
    place = past.settings.paths.inbox / "mine.json"
    place.write_text("{")
    ran = evald("show", "mine")
    assert ran.code == 0
    for words in ("waiting in the inbox", "not complete JSON yet", str(place)):
        assert words in ran.out
    told = evald("show", "mine", "--json").document()
    assert (told["job"], told["inbox"][0]["entry"]) == (None, "mine.json")
    past.ended("mine", passed())
    told = evald("show", "mine", "--json").document()
    assert (told["job"]["verdict"], told["inbox"][0]["complete"]) == ("passed", False)


def test_show_of_a_running_job_says_where_it_is(evald: Evald, past: PastHome) -> None:
    lease = past.leased("busy")
    text = evald("show", lease.job_id).out
    assert "checking 3/5" in text
    assert str(past.settings.paths.work) in text


def test_show_takes_no_entry_of_the_inbox_for_the_bundle_of_a_job_that_only_has_its_id(
    evald: Evald, past: PastHome
) -> None:
    """The name of an entry is its sender's, and ends in whatever they have read somewhere."""
    given_back, anothers = past.withdrawn("mine", os.getuid()), past.withdrawn("other", os.getuid() + 1)
    ended = past.ended("done", passed())
    (past.settings.paths.archive / f"done@{ended}").rmdir()
    inbox = past.settings.paths.inbox
    for entry in (f"theirs-{given_back}", f"other@{anothers}", f"done@{ended}"):
        bundle(inbox / entry)
    for job_id in (given_back, anothers, ended):
        assert "bundle" not in evald("show", job_id, "--json").document()["files"]

    own = bundle(inbox / f"mine@{given_back}")
    assert evald("show", given_back, "--json").document()["files"]["bundle"] == str(own)


@pytest.mark.parametrize("by", ["verdict", "problem", "name", "kernel_type", "day", "submitter", "label:author"])
def test_stats_groups_by(evald: Evald, past: PastHome, by: str) -> None:
    past.ended("a", passed(), problem="sums")
    past.ended("b", wrong(), problem="sums")
    groups = evald("stats", "--by", by, "--json").document()["groups"]
    assert sum(group["count"] for group in groups) == 2
    assert sum(group["passed"] for group in groups) == 1
    assert str(groups[0]["key"]) in evald("stats", "--by", by).out


def test_stats_since_leaves_out_what_ended_before(evald: Evald, past: PastHome) -> None:
    past.ended("a", passed(), days_ago=10)
    past.ended("b", passed())
    assert evald("stats", "--since", "7d", "--json").document()["groups"][0]["count"] == 1
    assert evald("stats", "--json").document()["groups"][0]["count"] == 2


def test_stats_by_something_else_is_answered_with_what_there_is(evald: Evald, past: PastHome) -> None:
    assert "did you mean problem" in evald("stats", "--by", "problems").err
    assert "label:KEY" in evald("stats", "--by", "xyz").err
    assert "label:author" in evald("stats", "--by", "label").err


def test_status_says_what_to_type_where_bundles_wait_and_no_daemon_is_there(evald: Evald, past: PastHome) -> None:
    past.ended("done", passed())
    assert "waits" not in evald("status").out
    bundle(past.settings.paths.inbox / "whole")
    assert "waits  for a daemon, or for the next sweep; to start one type evald run\n" in evald("status").out
    past.daemons.report(DaemonNote("host-boot-1", "host", 1, "0", 1, "/srv/inbox", 60))
    assert "waits  for a daemon" not in evald("status").out


def test_the_title_of_a_column_of_labels_is_the_key_as_it_is_written(evald: Evald, past: PastHome) -> None:
    past.ended("one", passed())
    assert evald("stats", "--by", "label:größe").out.startswith("LABEL:größe ")


def test_the_leaderboard_ranks_the_fastest_of_each_name(evald: Evald, past: PastHome) -> None:
    past.ended("slow", passed(3.0), problem="sums")
    past.ended("fast", passed(1.0), problem="sums")
    past.ended("fast", passed(2.0), problem="sums")
    past.ended("else", passed(0.1), problem="products")
    board = evald("stats", "--problem", "sums", "--json").document()["leaderboard"]
    assert [(one["rank"], one["name"], one["runtime_ms"]) for one in board] == [(1, "fast", 1.0), (2, "slow", 3.0)]
    assert {one["comparison"] for one in board} == {str(passed().comparison)}
    device, header, first, _ = evald("stats", "--problem", "sums").out.splitlines()
    assert device == "test cpu"
    assert first[header.index("COMPARED") :].startswith(str(passed().comparison).replace("_", " "))
    assert evald("stats", "--problem", "sums").out.count("fast ") == 1
    assert "no kernel has passed" in evald("stats", "--problem", "quotients").err
    assert "did you mean sums? evald stats --by problem" in evald("stats", "--problem", "sum").err


def test_a_leaderboard_says_how_often_a_bundle_was_judged(evald: Evald, past: PastHome) -> None:
    past.ended("once", passed(1.5), problem="sums", contract_sha256="b" * 64)
    assert "RUNS" not in evald("stats", "--problem", "sums").out
    for mean_ms in (0.1, 2.0, 3.0):
        past.ended("again", passed(mean_ms), problem="sums", contract_sha256="a" * 64)
    _, header, first, second = evald("stats", "--problem", "sums").out.splitlines()
    end = header.index("RUNS") + len("RUNS")
    assert (first.split()[1], first[:end].split()[-1]) == ("once", "1")
    assert (second.split()[1:4], second[:end].split()[-1]) == (["again", "2.00", "ms"], "3")


def test_a_leaderboard_of_several_submitters_says_whose_each_kernel_is(evald: Evald, past: PastHome) -> None:
    past.ended("fast", passed(2.0), problem="sums", uid=1000)
    assert "SUBMITTER" not in evald("stats", "--problem", "sums").out
    past.ended("fast", passed(1.0), problem="sums", uid=1001)
    _, header, first, second = evald("stats", "--problem", "sums").out.splitlines()
    assert ("SUBMITTER" in header, "uid 1001" in first, "uid 1000" in second) == (True, True, True)


def test_a_leaderboard_says_when_its_kernels_were_compared_with_different_references(
    evald: Evald, past: PastHome
) -> None:
    past.ended("honest", passed(1.0, ref_mean_ms=2.0), problem="sums")
    past.ended("noisy", passed(1.5, ref_mean_ms=4.0), problem="sums")
    assert evald("stats", "--problem", "sums").err == ""
    past.ended("tiny", passed(0.001, ref_mean_ms=0.002), problem="sums")
    said = "their references took 2.00 µs to 4.00 ms: perhaps not all of them had the same to do\n"
    assert evald("stats", "--problem", "sums").err == said


def test_a_leaderboard_is_a_table_on_a_screen_of_eighty_places(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "on_terminal", lambda *_: True)
    monkeypatch.setenv("COLUMNS", "80")
    for number in range(10):
        past.ended(f"gelu-of-the-generation-{number}", passed(12.3 + number), problem="gelu")
    device, titles, *rows = evald("stats", "--problem", "gelu").out.splitlines()
    assert (device, titles.count("COMPARED"), len(rows)) == ("test cpu", 1, 10)


def test_a_leaderboard_that_is_longer_than_what_is_shown_says_so(evald: Evald, past: PastHome) -> None:
    for number in range(3):
        past.ended(f"kernel-{number}", passed(1.0 + number), problem="sums")
    short = evald("stats", "--problem", "sums", "--limit", "2")
    assert ("kernel-1" in short.out, "kernel-2" in short.out) == (True, False)
    assert short.err == "there are more; --limit 20 shows more of them\n"
    assert evald("stats", "--problem", "sums", "--limit", "3").err == ""
    assert len(evald("stats", "--problem", "sums", "--limit", "2", "--json").document()["leaderboard"]) == 2


def test_a_submitter_whom_others_have_pushed_off_a_leaderboard_by_many_names_has_a_line_of_his_own(
    evald: Evald, past: PastHome
) -> None:
    for number in range(4):
        past.ended(f"kernel-{number}", passed(1.0 + number), problem="sums", uid=1001)
    assert "submitter" not in evald("stats", "--problem", "sums", "--limit", "2").err
    past.ended("honest", passed(9.0), problem="sums", uid=1000)
    short = evald("stats", "--problem", "sums", "--limit", "2")
    assert "honest" not in short.out
    assert "1 submitter has no line here; --per-submitter 1 shows everybody's fastest kernel\n" in short.err
    fair = evald("stats", "--problem", "sums", "--limit", "2", "--per-submitter", "1")
    _, _, first, second = fair.out.splitlines()
    assert (first.split()[:2], second.split()[:2], fair.err) == (["1", "kernel-0"], ["2", "honest"], "")


def test_over_http_every_caller_is_a_submitter_of_his_own_on_a_leaderboard(evald: Evald, past: PastHome) -> None:
    """To the file system all of them are the server's user."""
    for name in ("anna", "bert"):
        assert evald("token", name).code == 0
    uid = past.settings.paths.work.stat().st_uid
    past.ended("fast", passed(2.0), problem="sums", uid=uid, caller="anna")
    past.ended("fast", passed(1.0), problem="sums", uid=uid, caller="bert")
    _, header, first, second = evald("stats", "--problem", "sums").out.splitlines()
    assert ("SUBMITTER" in header, first.split()[1:3], second.split()[1:3]) == (
        True,
        ["fast", "bert"],
        ["fast", "anna"],
    )
    assert evald("token", "--revoke", "anna").code == 0
    assert "anna" in evald("stats", "--problem", "sums").out
    assert evald("cleanup", "--older-than", "0s", "--json").document()["kept_best"] == 2


def labelled(of_case: tuple[str, ...], of_time: tuple[str, ...], mean_ms: float = 1.0) -> Evaluation:
    """A passed job of one case with these labels."""
    told = passed(mean_ms)
    (case,) = told.cases
    assert case.timing is not None
    timing = case.timing.model_copy(update={"labels": of_time})
    return told.model_copy(update={"cases": (case.model_copy(update={"labels": of_case, "timing": timing}),)})


def test_a_leaderboard_says_what_speaks_against_a_kernel_and_not_what_is_merely_said_of_it(
    evald: Evald, past: PastHome
) -> None:
    past.ended("clean", labelled((), ("copy_included",), 2.0), problem="sums")
    assert "DOUBTS" not in evald("stats", "--problem", "sums").out
    past.ended("coarse", labelled(("less_exact",), ("copy_included", "content_cache"), 1.0), problem="sums")
    _, header, first, second = evald("stats", "--problem", "sums").out.splitlines()
    assert first[header.index("DOUBTS") :].startswith("less_exact, content_cache  ")
    assert second[header.index("DOUBTS") :].startswith(" ")
    board = evald("stats", "--problem", "sums", "--json").document()["leaderboard"]
    assert [one["labels"] for one in board] == [["less_exact", "copy_included", "content_cache"], ["copy_included"]]


@pytest.mark.parametrize(("failures", "words"), [(1, "failed once, less_exact"), (3, "failed 3 times, less_exact")])
def test_a_leaderboard_says_how_often_the_very_bundle_failed(
    evald: Evald, past: PastHome, failures: int, words: str
) -> None:
    past.ended("lucky", labelled(("less_exact",), (), 1.0), problem="sums", contract_sha256="a" * 64)
    failed = wrong().model_copy(update={"environment": passed().environment})
    for _ in range(failures):
        past.ended("lucky", failed, problem="sums", contract_sha256="a" * 64)
    _, header, line = evald("stats", "--problem", "sums").out.splitlines()
    assert line[header.index("DOUBTS") :].startswith(f"{words}  ")
    [lucky] = evald("stats", "--problem", "sums", "--json").document()["leaderboard"]
    assert (lucky["runs"], lucky["failed_runs"]) == (1, failures)


def test_doubts_are_shown_on_a_screen_of_eighty_places(
    evald: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "on_terminal", lambda *_: True)
    monkeypatch.setenv("COLUMNS", "80")
    past.ended("gelu-of-this-generation", labelled(("less_exact",), (), 12.3), problem="gelu")
    past.ended("gelu-of-the-next-generation", passed(13.3), problem="gelu")
    out = evald("stats", "--problem", "gelu").out
    assert "less_exact" in out
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--per-submitter", "1"), ("--problem", "evald stats --problem NAME --per-submitter 1")),
        (("--problem", "sums", "--since", "7d"), ("--since", "evald stats --since 7d --by problem")),
        (("--problem", "sums", "--by", "name"), ("--by", 'evald stats --problem "sums"')),
        (("--device", "test cpu"), ("--problem", 'evald stats --problem NAME --device "test cpu"')),
        (("--problem", "sums", "--device", "cpu"), ("'cpu'", '"test cpu"')),
    ],
)
def test_stats_refuses_what_would_be_ignored_and_says_what_to_type(
    evald: Evald, past: PastHome, args: tuple[str, ...], words: tuple[str, ...]
) -> None:
    past.ended("fast", passed(), problem="sums")
    ran = evald("stats", *args)
    assert ran.code == 2
    for word in words:
        assert word in ran.err
    assert "fast" in evald("stats", "--problem", "sums", "--device", "test cpu").out
    assert "no kernel has passed" in evald("stats", "--problem", "quotients", "--device", "cpu").err


def test_what_took_long_is_among_what_ended_last(past: PastHome) -> None:
    past.ended("early", passed())
    [early] = History(past.database).jobs(limit=1).jobs
    late = [replace(early, name=f"job{number}", finished_at=early.finished_at) for number in range(12)]
    assert early.finished_at is not None
    slow = replace(early, name="slow", finished_at=early.finished_at + timedelta(seconds=1))
    history: Any = SimpleNamespace(jobs=lambda **_: SimpleNamespace(jobs=(*late, slow)))
    last = _ended_last(history)
    assert last[0].name == "slow"
    assert len(last) == 10


def test_a_name_that_stands_for_somebody_elses_job_says_which_is_mine(evald: Evald, past: PastHome) -> None:
    mine = past.ended("shared", wrong(), uid=os.getuid())
    theirs = past.ended("shared", passed(), uid=os.getuid() + 1)
    for command in ("show", "status"):
        ran = evald(command, "shared")
        assert theirs[:16] in ran.out
        assert f"uid {os.getuid() + 1}; your newest: evald show {mine[:16]}" in ran.err
        assert evald(command, theirs).err == evald(command, theirs[:30]).err == ""
    past.ended("theirs-alone", passed(), uid=os.getuid() + 1)
    assert evald("show", "theirs-alone").err == ""
