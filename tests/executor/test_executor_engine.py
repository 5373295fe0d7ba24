"""The engine and its judges: killed, cancelled, closed, two at once, and without a sandbox."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from executor_bundles import Judged, JudgeOne, compare, forward, write_bundle
from executor_settings import cell_uid, small_settings, uids_from

from daemon.config import Deadlines
from daemon.engine import JobSpec
from daemon.errors import HarnessError, LostClaim, OperatorError
from daemon.executor.host import scratch
from daemon.executor.host.devices import CPU
from daemon.executor.host.supervise import start_plain
from daemon.executor.local import LocalEngine
from daemon.executor.sandbox import cgroup, owner
from daemon.executor.sandbox.policy import CellLimits
from daemon.executor.trusted import TrustedProcess
from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

GOOD = compare(forward("return a + b"))
ENDLESS = compare(
    forward("import time\nwhile hasattr(self, 'called'):\n    time.sleep(1)\nself.called = True\nreturn a + b"),
    timeout=600,
)


def no_progress(_: object) -> None: ...


@pytest.fixture
def own(tmp_path: Path) -> Iterator[LocalEngine]:
    """An engine of this test's own, to be ill-treated."""
    engine = LocalEngine(small_settings(tmp_path / "home", sandbox={"uid_base": cell_uid(3)}))
    yield engine
    engine.close()


def cells_of(uid: int) -> list[int]:
    """Processes of the cells of one engine: candidate, reference (+1000) and null (+2000)."""
    found = []
    uids = {one for step in (0, 1000, 2000) for one in uids_from(uid + step)}
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and folder.stat().st_uid in uids:
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def groups_left_by_the_dead() -> list[Path]:
    found = cgroup.existing()
    bases = found.bases.values() if found is not None else ()
    return [folder for base in bases for folder in base.iterdir() if owner.is_dead(folder.name.rpartition("-")[0])]


def no_group_is_left_by_the_dead() -> bool:
    """After two minutes at most: tests that run at the same time kill daemons of theirs, and the next one sweeps up."""
    deadline = time.monotonic() + 120
    while groups_left_by_the_dead() and time.monotonic() < deadline:
        time.sleep(0.05)
    return groups_left_by_the_dead() == []


def in_background(engine: LocalEngine, bundle: Path, started: threading.Event) -> tuple[threading.Thread, list[object]]:
    outcome: list[object] = []

    def run() -> None:
        def progress(p: object) -> None:
            if "checking" in str(p):
                started.set()

        try:
            outcome.append(engine.evaluate(JobSpec("job", "x", bundle), progress))
        except (HarnessError, LostClaim) as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def test_killing_a_judge_leaves_no_process_no_group_and_the_next_job_is_judged(
    own: LocalEngine, tmp_path: Path
) -> None:
    started = threading.Event()
    thread, outcome = in_background(own, write_bundle(tmp_path, ENDLESS, {}), started)
    assert started.wait(300)
    os.kill(own._judges[0].program._process.pid, signal.SIGKILL)
    thread.join(300)
    assert isinstance(outcome[0], HarnessError)
    assert cells_of(cell_uid(3)) == []
    assert no_group_is_left_by_the_dead()
    evaluation = own.evaluate(JobSpec("next", "x", write_bundle(tmp_path, GOOD, {})), no_progress)
    assert evaluation.verdict is Verdict.PASSED


def test_who_waits_for_a_measurement_is_told_its_precision(own: LocalEngine, tmp_path: Path) -> None:
    said: list[str] = []
    own.evaluate(JobSpec("job", "x", write_bundle(tmp_path, GOOD, {})), lambda progress: said.append(progress.text))
    reached = re.compile(r"timing: ± [0-9.]+ % after [0-9.]+ s, ends at ± [0-9.]+ % or [0-9.]+ s")
    assert any(map(reached.fullmatch, said)), said


def test_cancel_ends_a_job_at_once_as_a_lost_claim(own: LocalEngine, tmp_path: Path) -> None:
    started = threading.Event()
    thread, outcome = in_background(own, write_bundle(tmp_path, ENDLESS, {}), started)
    assert started.wait(300)
    own.cancel("another job")
    own.cancel("job")
    thread.join(300)
    assert isinstance(outcome[0], LostClaim)
    assert cells_of(cell_uid(3)) == []


def test_a_job_cancelled_at_its_very_end_is_lost_and_its_judge_judges_no_other(
    own: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_bundle(tmp_path, GOOD, {})
    with monkeypatch.context() as patched:
        patched.setattr(own, "_completed", lambda evaluation, *_: own.cancel("job") or evaluation)
        with pytest.raises(LostClaim):
            own.evaluate(JobSpec("job", "x", bundle), no_progress)
    assert own._judges == {}
    assert own.evaluate(JobSpec("next", "x", bundle), no_progress).verdict is Verdict.PASSED


def test_a_job_cancelled_when_its_slot_is_free_again_leaves_the_judge_to_others(
    own: LocalEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, give_back = write_bundle(tmp_path, GOOD, {}), own._roster.give_back

    def given_back(slot: int) -> None:
        give_back(slot)
        own.cancel("job")

    with monkeypatch.context() as patched:
        patched.setattr(own._roster, "give_back", given_back)
        assert own.evaluate(JobSpec("job", "x", bundle), no_progress).verdict is Verdict.PASSED
    assert own._judges[0].is_alive


def test_close_ends_everything_is_idempotent_and_refuses_new_jobs(own: LocalEngine, tmp_path: Path) -> None:
    own.start()
    started = threading.Event()
    thread, outcome = in_background(own, write_bundle(tmp_path, ENDLESS, {}), started)
    assert started.wait(300)
    own.close()
    own.close()
    thread.join(300)
    assert isinstance(outcome[0], LostClaim)
    assert cells_of(cell_uid(3)) == []
    assert no_group_is_left_by_the_dead()
    with pytest.raises((HarnessError, LostClaim)):
        own.evaluate(JobSpec("late", "x", write_bundle(tmp_path, GOOD, {})), no_progress)


def test_a_judge_outlives_the_thread_that_first_used_it(own: LocalEngine, tmp_path: Path) -> None:
    bundle = write_bundle(tmp_path, GOOD, {})
    thread, outcome = in_background(own, bundle, threading.Event())
    thread.join(120)
    pid = own._judges[0].program._process.pid
    assert Judged(outcome[0]).verdict is Verdict.PASSED  # type: ignore[arg-type]
    own.evaluate(JobSpec("again", "x", bundle), no_progress)
    assert own._judges[0].program._process.pid == pid


def test_what_cannot_be_started_is_told_as_it_is(tmp_path: Path) -> None:
    def make() -> TrustedProcess:
        raise RuntimeError("can't start new thread")

    engine = LocalEngine(small_settings(tmp_path))
    with pytest.raises(OSError, match="nothing can be started: can't start new thread"):
        engine._judges.started(make)
    engine.close()
    with pytest.raises(HarnessError, match="the engine is closed"):
        engine._judges.started(make)


@pytest.mark.parametrize(("number", "hint"), [(signal.SIGKILL, "ulimit -t"), (signal.SIGABRT, "evald doctor")])
def test_a_judge_that_dies_as_it_starts_is_told_with_how_it_ended(
    tmp_path: Path, number: signal.Signals, hint: str
) -> None:
    """Somebody whose shell limits a process's time read only that the other side had closed its end."""
    settings = small_settings(tmp_path, isolation="none")
    judge = TrustedProcess("daemon.executor.programs.judge", settings, 0, CPU, gpu=None, further=("0",))
    try:
        os.kill(judge.program._process.pid, number)
        with pytest.raises(HarnessError, match=f"the judge died: it was killed by {number.name}") as caught:
            judge.await_ready()
        assert hint in str(caught.value.hint)
    finally:
        judge.end()


def test_two_engines_at_once_do_not_disturb_each_other(engine: LocalEngine, own: LocalEngine, tmp_path: Path) -> None:
    started = threading.Event()
    thread, outcome = in_background(own, write_bundle(tmp_path, ENDLESS, {}), started)
    assert started.wait(300)
    bundle = write_bundle(tmp_path, GOOD, {})
    assert engine.evaluate(JobSpec("other", "x", bundle), no_progress).verdict is Verdict.PASSED
    own.cancel("job")
    thread.join(300)
    assert isinstance(outcome[0], LostClaim)
    assert engine.evaluate(JobSpec("other", "x", bundle), no_progress).verdict is Verdict.PASSED


def test_a_database_password_is_not_in_the_judges_arguments(tmp_path: Path) -> None:
    settings = small_settings(tmp_path, database="postgresql://evald:hunter2@db/evald", isolation="none")
    engine = LocalEngine(settings)
    try:
        engine.start()
        pid = engine._judges[0].program._process.pid
        assert b"hunter2" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    finally:
        engine.close()


def test_without_a_sandbox_it_works_says_so_and_leaves_no_folder(
    tmp_path: Path, judge_in: Callable[[LocalEngine, Path], JudgeOne], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # its judge's
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    engine = LocalEngine(small_settings(tmp_path / "home", isolation="none"))
    try:
        judged = judge_in(engine, tmp_path)(GOOD).passed()
        assert judged.evaluation.environment.isolation == "none"
        assert "no sandbox" in judged.evaluation.environment.isolation_weaker[0]
        assert [*tmp_path.glob("evald-unsandboxed-*")], "where its spare cells have theirs"
        judge_in(engine, tmp_path)(compare(forward("return a"))).ended(Verdict.WRONG_ANSWER)
    finally:
        engine.close()
    assert not [*tmp_path.glob("evald-unsandboxed-*")]


def test_an_unsandboxed_program_takes_its_folder_with_it() -> None:
    program = start_plain(["/bin/sh", "-c", "touch $HOME; sleep 1000"], {"HOME": "/tmp/x", "PATH": "/bin"}, keep_fds=())
    folder = program._folder
    assert folder is not None and folder.is_dir()
    assert program.kill().signal == "SIGKILL"
    assert not folder.exists()


def test_the_folder_of_another_users_dead_judge_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    namespace = owner.tag().partition("-")[0]
    ours, theirs = (tmp_path / f"evald-unsandboxed-{namespace}-1-{number}.x" for number in (7, 8))
    ours.mkdir()
    theirs.mkdir()
    if os.geteuid() == 0:
        os.chown(theirs, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    scratch.sweep()
    assert (ours.exists(), theirs.exists()) == (os.geteuid() == 12345, True)


def test_a_folder_says_whose_it_is_and_is_gone_afterwards_or_when_its_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    somebody_elses = tmp_path / "evald-notes.d"
    somebody_elses.mkdir()
    with scratch.folder("bundle") as folder:
        (folder / "state").mkdir()
        scratch.sweep()
        assert folder.is_dir()
        killed = folder.with_name(folder.name.replace(f"-{os.getpid()}-", "-1-"))
        shutil.copytree(folder, killed)
        scratch.sweep()
    assert list(tmp_path.iterdir()) == [somebody_elses]


@pytest.mark.parametrize(
    ("code", "how"), [(137, (137, None)), (153, (153, None)), (-9, (None, "SIGKILL")), (0, (0, None))]
)
def test_only_a_signal_is_called_one(code: int, how: tuple[int | None, str | None]) -> None:
    said = f"import os; os._exit({code})" if code >= 0 else f"import os; os.kill(os.getpid(), {-code})"
    program = start_plain([sys.executable, "-c", said], {"PATH": "/bin"}, keep_fds=())
    while (ended := program.poll()) is None:
        program._process.wait(300)
    program.kill()
    assert (ended.exit_code, ended.signal) == how


def test_a_cell_that_cannot_start_is_a_harness_error_not_the_bundles_fault(tmp_path: Path) -> None:
    engine = LocalEngine(small_settings(tmp_path / "home", sandbox={"uid_base": cell_uid(4), "memory_bytes": 1 << 20}))
    try:
        with pytest.raises((HarnessError, OperatorError)):
            engine.evaluate(JobSpec("j", "x", write_bundle(tmp_path, GOOD, {})), no_progress)
    finally:
        engine.close()
    assert cells_of(cell_uid(4)) == []


def test_a_host_without_bubblewrap_judges_nothing_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    engine = LocalEngine(small_settings(tmp_path / "home", sandbox={"uid_base": cell_uid(5)}))
    try:
        with pytest.raises(OperatorError, match="bubblewrap") as raised:
            engine.start()
        with pytest.raises(HarnessError, match="bubblewrap") as broken:
            engine.evaluate(JobSpec("j", "x", write_bundle(tmp_path, GOOD, {})), no_progress)
        for error in (raised.value, broken.value):
            assert "apt-get install" in (error.hint or "")
            assert error.message.count("\n") == 0
    finally:
        engine.close()


def test_a_host_on_which_a_cell_is_not_there_in_time_is_not_said_to_be_unfit(tmp_path: Path) -> None:
    """Or a daemon that starts on a busy host, or where the kernel has just taken a cell for want of memory, would not
    be started again."""
    deadlines = Deadlines(start_s=0.01)
    engine = LocalEngine(small_settings(tmp_path / "home", sandbox={"uid_base": cell_uid(5)}, deadlines=deadlines))
    try:
        with pytest.raises(HarnessError, match=r"a cell did not start|bubblewrap had not built the sandbox within"):
            engine.start()
    finally:
        engine.close()


LIMITS = CellLimits(
    memory_bytes=64 << 20, processes=8, open_files=64, file_bytes=1 << 20, tmp_bytes=1 << 20, tmp_inodes=100
)


def test_sweeping_spares_the_groups_of_the_living() -> None:
    groups = cgroup.find()
    if groups is None:
        pytest.skip("no writable cgroup here")
    group = groups.create(987_654, LIMITS)
    try:
        groups.sweep()
        assert group.processes_refused() == 0
        assert not group.oom_killed()
    finally:
        group.remove()
    group.remove()  # already gone is fine


def test_an_orphaned_frozen_group_is_thawed_killed_and_removed() -> None:
    groups = cgroup.find()
    if groups is None:
        pytest.skip("no writable cgroup here")
    child = os.fork()
    if child == 0:  # a judge that dies and leaves a frozen cell
        group = groups.create(1, LIMITS)
        cell = os.fork()
        if cell == 0:
            signal.pause()
        group.add(cell)
        frozen = group.freeze()
        os._exit(0 if frozen else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    groups.sweep()
    assert [folder for folder in groups_left_by_the_dead() if f"-{child}-" in folder.name] == []


def test_an_orphaned_group_of_another_user_is_left_to_him(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its members cannot be killed: an ordinary user was told so after every job, and what his own judge had left
    stayed. Root takes it."""
    begun: list[Path] = []
    monkeypatch.setattr(cgroup, "_destroy", lambda folder, _: begun.append(folder))
    gone = subprocess.Popen(["true"])
    gone.wait()
    orphan = tmp_path / f"{owner.tag().partition('-')[0]}-{gone.pid}-1-7"
    orphan.mkdir()
    user = orphan.stat().st_uid
    taken = {}
    for who in (user + 4711, user, 0):
        monkeypatch.setattr(os, "geteuid", lambda who=who: who)
        cgroup.Cgroups(1, {"freezer": tmp_path}).sweep()
        taken[who] = [*begun]
        begun.clear()
    assert taken == {user + 4711: [], user: [orphan], 0: [orphan]}
