"""Judging from the command line, with real processes and a real sandbox. Each evaluation costs seconds: few tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cli_homes import PastHome, bundle
from conftest import Evald, Start

import daemon.cli.eval as eval_command
from daemon.cli import coming, screen
from daemon.db.daemon_records import DaemonNote
from daemon.engine import DeviceState
from daemon.executor import local
from daemon.executor.local import LocalEngine
from daemon.intake.owner import Owner

LIMIT_S = 300.0
pytestmark = pytest.mark.sandbox


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something `process` does."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def has_children(process: subprocess.Popen[str]) -> bool:
    """Threads that end meanwhile have none."""
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        with suppress(OSError):
            if (task / "children").read_text("ascii"):
                return True
    return False


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, str, str]:
    process.send_signal(number)
    out, err = process.communicate(timeout=LIMIT_S)
    return process.returncode, out, err


def test_sweep_judges_what_waits_and_prints_the_verdicts(process: Evald, tmp_path: Path) -> None:
    inbox = tmp_path / "evald-home" / "inbox"
    bundle(inbox / "right")
    bundle(inbox / "off", "return a + 2", name="wrong-one")
    ran = process("sweep", "--json")
    told = ran.document()
    assert ran.code == 1, ran.err
    assert (told["judged"], told["passed"]) == (2, 1)
    verdicts = {job["name"]: job["verdict"] for job in told["jobs"]}
    assert verdicts == {"right": "passed", "wrong-one": "wrong_answer"}
    assert "finished" in ran.err
    for name, verdict in verdicts.items():
        result = json.loads((tmp_path / "evald-home" / "results" / "by-name" / name / "result.json").read_text())
        assert result["verdict"] == verdict
    assert "wrong_answer" in process("status", "wrong-one").out


def test_nobody_else_may_write_into_results_whatever_the_umask_is(
    process: Evald, tmp_path: Path, umask: Callable[[int], int]
) -> None:
    bundle(tmp_path / "evald-home" / "inbox" / "mine")
    umask(0)
    process("sweep", "--set", "engine=rehearsal")
    results = tmp_path / "evald-home" / "results"
    [result] = results.rglob("result.json")
    writable = [place for place in (results, *results.rglob("*")) if place.lstat().st_mode & 0o1002 == 0o002]
    assert result.exists()
    assert [place for place in writable if not place.is_symlink()] == []


def test_a_rejected_bundle_makes_a_sweep_exit_2_and_is_in_its_table(
    process: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALD_ENGINE", "rehearsal")
    inbox = tmp_path / "evald-home" / "inbox"
    bundle(inbox / "bad", num_trials=0)
    ran = process("sweep")
    assert ran.code == 2
    assert "rejected" in ran.out
    assert "num_trials" in ran.out
    assert "nothing is judged" in ran.err


def test_a_sweep_leaves_what_requires_another_device_in_the_inbox_and_says_so(
    process: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALD_ENGINE", "rehearsal")
    monkeypatch.setenv("EVALD_DEVICE", "cpu")
    inbox = tmp_path / "evald-home" / "inbox"
    bundle(inbox / "first", requires={"gpu": "H200"})
    bundle(inbox / "second", requires={"gpu": "H200"})
    ran = process("sweep")
    assert ran.code == 0, ran.err
    assert "2 bundles wait for another host: it requires a GPU (H200)" in ran.err
    assert "nothing was judged" not in ran.err
    told = process("sweep", "--json").document()
    assert (told["judged"], sorted(one["name"] for one in told["waiting"])) == (0, ["first", "second"])
    assert sorted(path.name.partition("@")[0] for path in inbox.iterdir()) == ["first", "second"]
    bundle(inbox / "third")
    ran = process("sweep")
    assert ran.code == 2, "the rehearsed one counts"
    assert "third" in ran.out
    assert "2 bundles wait" in ran.err
    (entry, _) = process("status", "--json").document()["inbox"]["entries"]
    assert "it requires a GPU" in entry["reason"]
    assert "it requires a GPU" in process("status", "first").out


def test_sweep_of_an_empty_inbox_is_quick_and_fine(evald: Evald, tmp_path: Path) -> None:
    ran = evald("sweep", "--json")
    assert ran.code == 0
    nothing = {"judged": 0, "passed": 0, "jobs": [], "waiting": [], "drained": False, "paused": None, "hindrance": None}
    assert ran.document() == nothing
    assert "nothing was judged" in evald("sweep").out
    assert (tmp_path / "evald-home" / "inbox").is_dir()


def test_the_log_level_says_which_lines_of_the_story_are_written(
    process: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALD_ENGINE", "rehearsal")
    told = {}
    for level in ("debug", "info", "warning"):
        bundle(past.settings.paths.inbox / level)
        told[level] = "claimed" in process("sweep", "--log-level", level).err
    assert told == {"debug": True, "info": True, "warning": False}


def test_a_sweep_that_may_not_claim_says_why(process: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALD_ENGINE", "rehearsal")
    bundle(past.settings.paths.inbox / "mine")
    past.settings.paths.pause.write_text("moving disks")
    paused = process("sweep")
    assert (paused.code, "paused: moving disks" in paused.err, "nothing is ready" in paused.err) == (0, True, False)
    assert process("sweep", "--json").document()["paused"] == "moving disks"
    past.settings.paths.pause.unlink()
    full = process("sweep", "--set", f"min_free_bytes={1 << 60}")
    assert full.code == 2
    assert "nothing new is claimed" in full.err
    hindered = process("sweep", "--json", "--set", f"min_free_bytes={1 << 60}")
    assert (hindered.code, "free" in hindered.document()["hindrance"]) == (2, True)


def test_a_sweep_on_a_drained_host_says_so_and_how_to_undo_it(
    process: Evald, past: PastHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALD_ENGINE", "rehearsal")
    bundle(past.settings.paths.inbox / "mine")
    host = Owner.current().host
    assert process("drain", host).code == 0, "no daemon of it was ever here"
    ran = process("sweep")
    assert ran.code == 0, ran.err
    assert f"evald drain {host} --undo" in ran.err
    assert "nothing is ready" not in ran.err
    assert (past.settings.paths.inbox / "mine").is_dir()


def test_eval_prints_the_result_and_leaves_nothing_behind(from_nothing: Evald, tmp_path: Path) -> None:
    bundle(tmp_path / "mine", labels={"author": "anna"})
    ran = from_nothing("eval", "mine", "--json")
    assert ran.code == 0, ran.err
    told = ran.document()
    assert (told["verdict"], told["name"], told["labels"]) == ("passed", "mine", {"author": "anna"})
    assert told["kernel_exec_result"]["runtime"] is not None
    assert told["ref_runtime"]["mean"] is not None
    assert ran.err == ""
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_the_shell_that_starts_eval_has_closed_or_masked_is_no_fault_of_a_kernel(tmp_path: Path) -> None:
    bundle(tmp_path / "mine")
    command = 'umask 0777; exec "$0" -m daemon eval --json mine <&- 2>&-'
    done = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, timeout=240, check=False)
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (0, "passed")


def inherit() -> None:
    """What a supervisor may leave to what it starts."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


def test_signals_and_scheduling_that_eval_came_with_do_not_reach_what_it_starts(tmp_path: Path) -> None:
    look = "print(signal.pthread_sigmask(signal.SIG_BLOCK, ()), os.sched_getscheduler(0))"
    bundle(tmp_path / "mine", f"import os, signal\n        {look}\n        return a + 1", correctness_trials=1)
    argv = [sys.executable, "-m", "daemon", "eval", "--json", "mine"]
    done = subprocess.run(argv, capture_output=True, timeout=240, check=False, preexec_fn=inherit)
    result = json.loads(done.stdout)
    assert (done.returncode, result.get("verdict")) == (0, "passed"), done
    assert f"set() {os.SCHED_OTHER}" in json.dumps(result)


def test_eval_shows_the_traceback_of_a_kernel_that_fails(process: Evald, tmp_path: Path) -> None:
    bundle(tmp_path / "mine", "raise ValueError('no such luck')")
    ran = process("eval", "mine")
    assert ran.code == 1
    assert "runtime_error" in ran.out
    assert "no such luck" in ran.out
    assert "raise ValueError" in ran.out


def test_eval_of_a_malformed_bundle_is_rejected_with_its_problems(evald: Evald, tmp_path: Path) -> None:
    bundle(tmp_path / "mine", num_trials=0)
    ran = evald("eval", "mine", "--json")
    assert ran.code == 2
    assert ran.document()["verdict"] == "rejected"
    assert "num_trials" in ran.document()["message"]
    assert "num_trials" in evald("eval", "mine").out


def test_eval_of_a_bundle_no_device_here_can_serve_judges_nothing_and_says_what_to_do(
    evald: Evald, tmp_path: Path
) -> None:
    bundle(tmp_path / "mine", requires={"min_capability": "9.0"})
    ran = evald("eval", "mine", "--device", "cpu")
    assert (ran.code, ran.out) == (2, "")
    assert "mine cannot be judged here: it requires a GPU" in ran.err
    assert "evald submit" in ran.err
    assert "it requires a GPU" in evald("eval", "mine", "--device", "cpu", "--json").document()["error"]


def test_eval_can_be_interrupted(start_from_nothing: Start, tmp_path: Path) -> None:
    running = start_from_nothing("eval", bundle(tmp_path / "mine", "\n        while True: pass"))
    wait_until(lambda: has_children(running), running)
    code, out, err = stopped(running, signal.SIGINT)
    assert (code, out) == (130, "")
    assert "Traceback" not in err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_eval_leaves_nothing_behind_however_it_is_ended(
    start_from_nothing: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    before = signal.signal(number, signal.SIG_DFL)  # nohup, under which the tests may run, ignores SIGHUP
    try:
        running = start_from_nothing("eval", bundle(tmp_path / "mine", "\n        while True: pass"))
    finally:
        signal.signal(number, before)
    wait_until(lambda: has_children(running), running)
    code, out, _ = stopped(running, number)
    assert (code, out) == (130, "")
    assert list((tmp_path / "temporary").iterdir()) == []


def test_an_interrupt_while_eval_hands_the_work_over_ends_it_too(
    evald: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()

    class Interrupted(ThreadPoolExecutor):
        def submit(self, work: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
            super().submit(work, *args, **named)
            assert begun.wait(LIMIT_S)
            raise KeyboardInterrupt

    class Begun(LocalEngine):
        def start(self) -> None:
            super().start()
            begun.set()

    monkeypatch.setattr(eval_command, "ThreadPoolExecutor", Interrupted)
    monkeypatch.setattr(local, "LocalEngine", Begun)
    ran = evald("eval", bundle(tmp_path / "mine", "\n        while True: pass", timeout=600))
    assert (ran.code, ran.out) == (130, "")


def test_submit_waits_for_the_verdict_of_a_running_daemon(
    start_from_nothing: Start, process: Evald, tmp_path: Path
) -> None:
    running = start_from_nothing("run")
    wait_until((tmp_path / "evald-home" / "inbox").is_dir, running)
    ran = process("submit", bundle(tmp_path / "mine"), "--wait", "--timeout", LIMIT_S, "--json")
    assert ran.code == 0, ran.err
    told = ran.document()
    assert told["results"][0]["verdict"] == "passed"
    assert told["results"][0]["job_id"] == told["submitted"][0]["job_id"]
    code, out, err = stopped(running, signal.SIGTERM)
    assert (code, out) == (0, "")
    for words in ("watching", "claimed", "finished", "stopped"):
        assert words in err


def test_a_daemon_told_to_stop_while_it_starts_stops(start_from_nothing: Start, tmp_path: Path) -> None:
    running = start_from_nothing("run", "--json")
    wait_until((tmp_path / "evald-home" / "inbox").is_dir, running)
    code, out, _ = stopped(running, signal.SIGINT)
    assert code == 0
    assert json.loads(out) == {"judged": 0, "passed": 0}


def test_a_missing_sandbox_is_said_on_every_start(start: Start, tmp_path: Path) -> None:
    running = start("run", "--isolation", "none", "--set", "engine=rehearsal")
    wait_until((tmp_path / "evald-home" / "state" / "evald.sqlite3").exists, running)
    _, _, err = stopped(running, signal.SIGTERM)
    assert "isolation is none" in err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a home to somebody")
def test_root_is_told_whose_home_it_is_about_to_write_in(process: Evald, tmp_path: Path) -> None:
    """What root leaves there, the month's folder of results for one, the daemon of that home cannot change."""
    state = tmp_path / "evald-home" / "state"
    sweep = ("sweep", "--set", "engine=rehearsal")
    assert "belongs to" not in process(*sweep).err
    os.chown(state, 12345, 12345)
    told = process(*sweep).err
    assert "this home belongs to '#12345', who may not touch" in told
    assert f"sudo -u '#12345' {sys.executable} -m daemon " in told
    assert "sweep --set engine=rehearsal\n" in told


def test_an_interrupted_sweep_leaves_the_bundle_in_the_inbox(start: Start, tmp_path: Path) -> None:
    inbox = tmp_path / "evald-home" / "inbox"
    bundle(inbox / "slow")
    running = start("sweep", "--set", "engine=rehearsal", "--set", "rehearsal_s=600")
    wait_until(lambda: not (inbox / "slow").exists(), running)
    code, _, err = stopped(running, signal.SIGINT)
    assert code == 130
    assert "back in the inbox" in err
    assert " lost " not in err
    assert [path.name.partition("@")[0] for path in inbox.iterdir()] == ["slow"]


def test_a_sweep_that_may_claim_nothing_starts_no_judge(
    evald: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which takes half a minute on a slow machine, to say in the end that there is no room."""
    inbox = tmp_path / "evald-home" / "inbox"
    bundle(inbox / "mine")
    monkeypatch.setattr(LocalEngine, "start", lambda _: pytest.fail("it starts a judge"))
    (inbox.parent / "pause").write_text("moving disks")
    ran = evald("sweep")
    assert (ran.code, "paused: moving disks" in ran.err) == (0, True)
    (inbox.parent / "pause").unlink()
    monkeypatch.setenv("EVALD_MIN_FREE_BYTES", str(1 << 60))
    ran = evald("sweep", "--json")
    assert ran.code == 2
    assert "are wanted" in ran.document()["hindrance"]
    assert [entry.name for entry in inbox.iterdir()] == ["mine"]


def test_waiting_without_a_daemon_says_so_and_what_to_type(
    evald: Evald, past: PastHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.cli.waiting._PATIENCE_S", 0.0)
    ran = evald("submit", bundle(tmp_path / "mine"), "--wait", "--timeout", "2")
    assert ran.code == 2
    assert "no daemon seems to be running" in ran.err
    assert "evald run --home" in ran.err
    assert "1 not judged after 2 s; it stays in the queue" in ran.err


@pytest.mark.parametrize("situation", ["nobody", "a daemon", "a program asks"])
def test_dropping_without_a_daemon_is_told_to_a_person(
    evald: Evald, past: PastHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, situation: str
) -> None:
    monkeypatch.setattr(screen, "on_terminal", lambda *_: situation != "a program asks")
    if situation == "a daemon":
        device, inbox = DeviceState(0, "cpu", "cpu", None), str(past.settings.paths.inbox)
        past.daemons.report(DaemonNote("gpu1-boot-1", "gpu1", 1, "0", 1, inbox, 60, (device,)))
    ran = evald("submit", bundle(tmp_path / "mine"))
    assert ran.code == 0
    is_told = situation == "nobody"
    assert ("no daemon seems to be running; what was dropped waits for one" in ran.err) is is_told
    assert ("evald run --home" in ran.err) is is_told


@pytest.mark.parametrize("hindered", ["paused", "drained", "neither"])
def test_waiting_for_a_daemon_that_is_there_and_takes_nothing_tells_why(
    evald: Evald, past: PastHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hindered: str
) -> None:
    monkeypatch.setattr("daemon.cli.waiting._PATIENCE_S", 0.0)
    device = DeviceState(0, "cpu", "cpu", None)
    inbox = str(past.settings.paths.inbox)
    past.daemons.report(DaemonNote("gpu1-boot-1", "gpu1", 1, "0", 1, inbox, 60, (device,)))
    if hindered == "paused":
        past.settings.paths.pause.write_text("maintenance")
    if hindered == "drained":
        past.daemons.drain("gpu1")
    ran = evald("submit", bundle(tmp_path / "mine"), "--wait", "--timeout", "2")
    assert ran.code == 2
    assert "no daemon seems" not in ran.err
    expected = {
        "paused": "(maintenance): type rm ",
        "drained": "evald drain gpu1 --undo",
        "neither": "evald status says",
    }
    assert expected[hindered] in ran.err


def test_waiting_for_the_verdict_of_a_bundle_that_waits_for_a_device_tells_why(
    start: Start, evald: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALD_ENGINE", "rehearsal")
    monkeypatch.setenv("EVALD_DEVICE", "cpu")
    running = start("run")
    wait_until(lambda: evald("health").code == 0, running)
    waiting = start("submit", bundle(tmp_path / "mine", requires={"gpu": "H200"}), "--wait", "--timeout", LIMIT_S)
    assert waiting.stderr is not None
    line = waiting.stderr.readline()
    assert "mine waits for a host that can judge it" in line
    assert "it requires a GPU (H200)" in line
    _, _, err = stopped(waiting, signal.SIGINT)
    assert "no daemon" not in err


def test_waiting_for_a_verdict_begins_before_the_daemon_has_made_its_home(
    start: Start, evald: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALD_ENGINE", "rehearsal")
    daemons: list[subprocess.Popen[str]] = []

    def sleep(seconds: float) -> None:
        if not daemons:
            daemons.append(start("run"))
        time.sleep(seconds)

    monkeypatch.setattr("daemon.cli.submit._HOME_S", LIMIT_S)  # ten seconds, which a busy machine takes to start one
    monkeypatch.setattr("daemon.cli.submit.time", SimpleNamespace(monotonic=time.monotonic, sleep=sleep))
    ran = evald("submit", bundle(tmp_path / "mine"), "--wait", "--timeout", LIMIT_S)
    assert f"waiting {LIMIT_S:g} s for one to start" in ran.err
    assert "unsupported" in ran.out, ran.err
    stopped(daemons[0], signal.SIGINT)


@pytest.fixture
def starter(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """A process that looks like one that starts a daemon, and stands there."""
    standing = []

    def begin(*words: str, **variables: str) -> subprocess.Popen[bytes]:
        argv = [sys.executable, "-c", "import sys; sys.stdin.read()", *words]
        environment = {**os.environ, **variables}
        standing.append(subprocess.Popen(argv, cwd=tmp_path, env=environment, stdin=subprocess.PIPE))
        return standing[-1]

    yield begin
    for process in standing:
        process.communicate()


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("/usr/bin/evald", "run", "--home", "{home}"), {}),
        (("evald", "serve", "--home={home}", "--verbose"), {}),
        (("-m", "daemon", "run"), {"EVALD_HOME": "{home}"}),
        (("evald", "run", "--home", "there"), {"EVALD_HOME": "/elsewhere"}),
    ],
)
def test_a_daemon_that_is_being_started_is_known_by_its_process(
    starter: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, words: tuple[str, ...], variables: dict[str, str]
) -> None:
    home = tmp_path / "there"
    others = [("evald", "run", "--home", "/elsewhere"), ("evald", "status", "--home", str(home)), ("run", str(home))]
    for other in others:
        starter(*other)
    assert coming.daemon_for(home) is None
    given = {key: value.format(home=home) for key, value in variables.items()}
    process = starter(*(word.format(home=home) for word in words), **given)
    deadline = time.monotonic() + LIMIT_S
    while coming.daemon_for(home) != process.pid:  # it is a fork of ours at first
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.communicate()
    assert coming.daemon_for(home) is None


def test_a_first_home_is_waited_for_as_long_as_somebody_starts_it(
    evald: Evald, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To import what it needs takes a slow machine longer than the ten seconds that are waited for nobody."""
    home = tmp_path / "late"
    looks: list[Path] = []

    def look(wanted: Path) -> int | None:
        looks.append(wanted)
        if len(looks) == 4:
            (home / "inbox").mkdir(parents=True)
        return 4711

    monkeypatch.setattr("daemon.cli.submit._HOME_S", 0.0)
    monkeypatch.setattr("daemon.cli.coming.daemon_for", look)
    monkeypatch.setattr("daemon.cli.waiting.wait_for", lambda *_: [])
    ran = evald("submit", bundle(tmp_path / "mine"), "--wait", "--timeout", LIMIT_S, "--home", home)
    assert ran.err.count("one is being started (process 4711)") == 1
    assert looks[0] == home
    assert len(list((home / "inbox").iterdir())) == 1


def test_waiting_for_a_daemon_that_is_being_started_says_so_once_and_not_that_there_is_none(
    evald: Evald, past: PastHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("daemon.cli.waiting._PATIENCE_S", 0.0)
    monkeypatch.setattr("daemon.cli.coming.daemon_for", lambda _home: 4711)
    ran = evald("submit", bundle(tmp_path / "mine"), "--wait", "--timeout", "2")
    assert ran.err.count("a daemon is being started (process 4711), and has no judge yet") == 1
    assert "no daemon seems" not in ran.err


def test_submit_drops_what_it_can_and_names_what_it_cannot(evald: Evald, past: PastHome, tmp_path: Path) -> None:
    bundle(tmp_path / "mine")
    ran = evald("submit", "mine", "mone", "--json")
    told = ran.document()
    assert ran.code == 2
    assert [one["name"] for one in told["submitted"]] == ["mine"]
    assert "mone" in told["errors"][0]["error"]
    assert "mine" in told["errors"][0]["hint"]
    dropped = [path.name for path in past.settings.paths.inbox.iterdir()]
    assert dropped == [f"mine@{told['submitted'][0]['job_id']}"]
    assert evald("submit", "mine").out.split()[1] == "mine"
