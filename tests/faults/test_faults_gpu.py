"""GPU trouble where there is no GPU: a driver that hangs, a made-up NVML, a device that is not there."""

from __future__ import annotations

import errno
import socket
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from executor_bundles import compare, forward, write_bundle
from executor_settings import cell_uid, small_settings
from waiting import wait_for

from daemon.config import Settings
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.repository import Repository
from daemon.engine import JobSpec
from daemon.errors import DeviceError, FoundSick, HarnessError, NoDevice
from daemon.evaluation import Evaluation
from daemon.executor import catalog, judges, local
from daemon.executor.cells.spares import Preloaded
from daemon.executor.host import devices
from daemon.executor.host.devices import CPU, Device
from daemon.executor.host.reservation import Reservation
from daemon.executor.host.supervise import output_of
from daemon.executor.judges import JudgeProcess
from daemon.executor.local import LocalEngine
from daemon.executor.programs import judge
from daemon.executor.programs.jobs import Judge
from daemon.executor.shared import protocol
from daemon.executor.timing.telemetry import Telemetry
from daemon.intake.owner import Owner
from daemon.intake.spool import Spool
from daemon.judging import Clerk, Unended
from daemon.lifecycle import JobState
from daemon.verdict import Phase, Verdict

ABSENT = Device(
    kind="cuda", index=0, name="NVIDIA H200", uuid="GPU-00000000-0", capability=(9, 0), memory_bytes=1 << 37
)
without_gpu = pytest.mark.skipif(any(Path("/dev").glob("nvidia[0-9]*")), reason="this host has a GPU: see tests/gpu")


def silent(_: object) -> None: ...


# -- nvidia-smi, or what evald asks in its place, hangs ------------------------------------------------------------


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Put a shell script in the place of the process that asks NVML. It leaves its pid in the file returned."""

    def install(script: str) -> Path:
        asked, program = tmp_path / "asked", tmp_path / "asks-nvml"
        program.write_text(f"#!/bin/sh\necho $$ > {asked}.new; mv {asked}.new {asked}\n{script}\n", "ascii")
        program.chmod(0o755)
        monkeypatch.setattr(devices, "sys", types.SimpleNamespace(executable=str(program)))
        return asked

    return install


def test_a_driver_that_hangs_is_given_up_after_the_limit_and_whoever_asked_it_is_killed(
    driver: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = driver("exec sleep 1000")
    monkeypatch.setattr(devices, "_ASK_LIMIT_S", 2.0)
    with pytest.raises(HarnessError, match="NVML did not answer within 2 s") as raised:
        devices.found()
    assert (raised.value.hint or "").startswith("nvidia-smi")
    pid = int(asked.read_text("ascii"))
    wait_for(lambda: not Path(f"/proc/{pid}").exists() or is_dead(pid), "the asking process to end")


def is_dead(pid: int) -> bool:
    return " Z " in Path(f"/proc/{pid}/stat").read_text("ascii", "replace") or not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo 'not json'", "answered something else"),
        ("echo '[{\"surprise\": 1}]'", "answered something else"),
        ("echo '{}' | head -c 1", "answered something else"),
        ("echo 'NVMLError_DriverNotLoaded' >&2; exit 1", "DriverNotLoaded"),
        ("kill -9 $$", "exit code -9"),
    ],
    ids=["text", "other fields", "half", "error", "killed"],
)
def test_a_driver_that_answers_nonsense_or_dies_is_our_fault_in_words(
    driver: Callable[[str], Path], script: str, words: str
) -> None:
    driver(script)
    with pytest.raises(HarnessError, match=words):
        devices.found()


def test_a_driver_that_says_there_is_nothing_means_no_gpu(driver: Callable[[str], Path]) -> None:
    driver("echo '[]'")
    assert devices.found() == ()


def test_a_trusted_program_that_hangs_is_killed_at_its_limit_and_one_that_asks_us_something_gets_nothing() -> None:
    with pytest.raises(TimeoutError, match="still running after 1 s"):
        output_of(["/bin/sleep", "1000"], timeout_s=1)
    assert output_of(["/bin/cat"], timeout_s=60) == ""


# -- Xid, ECC, a GPU that is gone: through the telemetry of the judge -----------------------------------------------


class MadeUpNvml(types.ModuleType):
    """NVML as far as `Telemetry` asks it: a list of Xids to report, then silence or an error."""

    NVMLError = type("NVMLError", (Exception,), {})
    nvmlEventTypeXidCriticalError = 8  # noqa: N815 - NVML's own name

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.NVMLError_Timeout = type("NVMLError_Timeout", (self.NVMLError,), {})
        self.NVMLError_NotFound = type("NVMLError_NotFound", (self.NVMLError,), {})
        self.xids: list[int] = []
        self.with_context: list[int] = []
        self.samples: list[tuple[int, int, int]] = []
        self.unknown: Exception | None = None
        self.gone: str | None = None

    def nvmlInit(self) -> None: ...

    def nvmlDeviceGetHandleByUUID(self, _: str) -> int:
        if self.gone:
            raise self.NVMLError(self.gone)
        return 1

    def nvmlEventSetCreate(self) -> int:
        return 2

    def nvmlDeviceGetComputeRunningProcesses(self, _: int) -> list[object]:
        return [types.SimpleNamespace(pid=pid) for pid in self.with_context]

    def nvmlDeviceGetProcessUtilization(self, _: int, since_us: int) -> list[object]:
        if self.unknown is not None:
            raise self.unknown
        return [
            types.SimpleNamespace(pid=pid, smUtil=percent)
            for pid, sampled_us, percent in self.samples
            if sampled_us > since_us
        ]

    def nvmlDeviceRegisterEvents(self, *_: object) -> None: ...

    def nvmlEventSetWait_v2(self, _: int, timeout_ms: int) -> object:
        assert timeout_ms == 0, "a health check must not wait"
        if self.gone:
            raise self.NVMLError(self.gone)
        if not self.xids:
            raise self.NVMLError_Timeout
        return types.SimpleNamespace(eventType=8, eventData=self.xids.pop(0))


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> MadeUpNvml:
    made_up = MadeUpNvml()
    monkeypatch.setitem(sys.modules, "pynvml", made_up)
    return made_up


@pytest.mark.parametrize("xid", [48, 63, 79, 94, 95], ids=lambda xid: f"Xid {xid}")
def test_an_error_of_memory_bus_or_driver_behind_a_kernels_own_mistakes_makes_the_gpu_unfit(
    nvml: MadeUpNvml, xid: int
) -> None:
    telemetry = Telemetry(ABSENT)
    nvml.xids = [13, 31, 43]
    telemetry.require_healthy()
    assert nvml.xids == [], "all of them were looked at"
    nvml.xids = [31, xid]
    with pytest.raises(HarnessError, match=f"Xid {xid}"):
        telemetry.require_healthy()


def test_a_gpu_that_falls_off_the_bus_is_our_fault_before_and_while_it_is_used(nvml: MadeUpNvml) -> None:
    telemetry = Telemetry(ABSENT)
    telemetry.require_healthy()
    nvml.gone = "GPU is lost"
    with pytest.raises(HarnessError, match="GPU is lost"):
        telemetry.require_healthy()
    with pytest.raises(HarnessError, match=r"does not know NVIDIA H200 .* GPU is lost"):
        Telemetry(ABSENT)


def test_who_has_been_at_work_on_the_gpu_is_told_by_the_samples_since_then(nvml: MadeUpNvml) -> None:
    telemetry = Telemetry(ABSENT)
    nvml.with_context = [7, 8]
    nvml.samples = [(7, 5_000_000, 90), (8, 9_000_000, 0), (9, 9_000_000, 1)]
    assert telemetry.with_context() == {7, 8}
    assert telemetry.active_since(4.0) == {7, 9}
    assert telemetry.active_since(6.0) == {9}


def test_no_samples_are_another_answer_than_a_driver_that_has_none(nvml: MadeUpNvml) -> None:
    telemetry = Telemetry(ABSENT)
    nvml.unknown = nvml.NVMLError_NotFound()
    assert telemetry.active_since(0.0) == frozenset()
    nvml.unknown = nvml.NVMLError("not supported")
    assert telemetry.active_since(0.0) is None


# -- a device whose judge does not start ----------------------------------------------------------------------------


@pytest.fixture
def engine_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., LocalEngine]]:
    engines: list[LocalEngine] = []

    def start(*chosen: Device) -> LocalEngine:
        monkeypatch.setattr(local, "choose", lambda _: chosen)
        settings = small_settings(tmp_path / "home", sandbox={"uid_base": cell_uid(30 + len(engines))})
        engines.append(LocalEngine(settings))
        return engines[-1]

    yield start
    for engine in engines:
        engine.close()


@without_gpu
@pytest.mark.sandbox
def test_a_gpu_whose_judge_does_not_start_is_set_aside_with_its_reason_and_the_other_device_is_used(
    engine_on: Callable[..., LocalEngine], tmp_path: Path
) -> None:
    engine = engine_on(ABSENT, CPU)
    engine.ready()
    sick, fit = engine.devices()
    assert (sick.name, sick.uuid, fit.reason) == (ABSENT.name, ABSENT.uuid, None)
    assert sick.reason is not None and len(sick.reason) > 10
    bundle = write_bundle(tmp_path, compare(forward("return a + b"), timeout=120), {})
    assert engine.evaluate(JobSpec("j", "x", bundle), silent).verdict is Verdict.PASSED
    engine.ready()
    assert engine.devices()[0].reason == sick.reason


@without_gpu
def test_with_no_device_left_the_engine_is_not_ready_names_each_with_its_reason(
    engine_on: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_on(ABSENT, replace(ABSENT, index=1, name="NVIDIA A100", uuid="GPU-99999999-9"))
    monkeypatch.setattr(judges, "JudgeProcess", StubJudge)
    monkeypatch.setattr(StubJudge, "fault", "no CUDA-capable device is detected")
    with pytest.raises(HarnessError, match="no device is fit to judge") as raised:
        engine.ready()
    assert "NVIDIA H200" in str(raised.value) and "NVIDIA A100" in str(raised.value)
    assert [device.reason for device in engine.devices()] == [StubJudge.fault] * 2


class StubJudge:
    """In the place of a judge process: starts or does not, and fails every job as a sick GPU would."""

    fault: str | None = None
    undying: DeviceError | None = None

    def __init__(self, *_: object) -> None:
        self.program = types.SimpleNamespace(poll=lambda: None)

    def await_ready(self) -> None:
        if self.fault:
            raise HarnessError(self.fault)

    def evaluate(self, *_: object) -> Evaluation:
        raise DeviceError("the driver reports Xid 79 for this GPU", hint="dmesg | grep -i xid")

    def end(self) -> DeviceError | None:
        return self.undying


@pytest.fixture
def sick(engine_on: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch) -> LocalEngine:
    """An engine whose only GPU starts its judge and then reports an Xid in every job."""
    engine = engine_on(ABSENT)
    monkeypatch.setattr(judges, "JudgeProcess", StubJudge)
    monkeypatch.setattr(StubJudge, "fault", None)
    return engine


def test_a_job_on_a_gpu_that_reports_an_xid_is_not_answered_with_a_verdict(sick: LocalEngine, tmp_path: Path) -> None:
    sick.ready()
    with pytest.raises(HarnessError, match="Xid 79"):
        sick.evaluate(JobSpec("j", "x", tmp_path), silent)


class XidJudge(Judge):
    """What the judge's process serves: its device fails in every job."""

    def __init__(self) -> None: ...

    def settle(self) -> None: ...

    def use_the_moment(self) -> Preloaded:
        return Preloaded.ALL

    def evaluate(self, *_: object) -> Evaluation:
        return StubJudge().evaluate()


class SpokenTo(JudgeProcess):
    """The engine's end of a channel to a judge that is no process."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._reader = protocol.Reader(1 << 20)
        self._silence_s = 60.0


class NotToBeHad(Reservation):
    def acquire(self, waiting: Callable[[str], None], patience_s: float = 0.0) -> None:
        raise DeviceError("waited in vain for process 7", hint="ps -fp 7")


@pytest.mark.parametrize(
    ("reservation", "error", "hint"),
    [(Reservation(None), DeviceError, "dmesg | grep -i xid"), (NotToBeHad(None), FoundSick, "ps -fp 7")],
    ids=["while judging", "before"],
)
def test_what_a_judge_says_to_type_comes_with_what_is_wrong(
    tmp_path: Path, reservation: Reservation, error: type[DeviceError], hint: str
) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        serving = threading.Thread(target=judge.serve, args=(theirs, XidJudge(), reservation))
        serving.start()
        with ours, pytest.raises(error) as raised:
            SpokenTo(ours).evaluate(JobSpec("j", "x", tmp_path), silent)
        serving.join(60)
    assert type(raised.value) is error
    assert raised.value.hint == hint


def test_a_gpu_whose_judge_does_not_die_is_set_aside_and_nothing_waits_for_it(
    engine_on: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = engine_on(ABSENT)
    monkeypatch.setattr(judges, "JudgeProcess", StubJudge)
    monkeypatch.setattr(StubJudge, "fault", "CUDA hangs")
    monkeypatch.setattr(StubJudge, "undying", DeviceError("its judge does not end: process 7 does not die"))
    with pytest.raises(HarnessError, match=r"no device is fit to judge: .*does not end"):
        engine.ready()
    assert engine.devices()[0].reason == "its judge does not end: process 7 does not die"
    with pytest.raises(HarnessError, match="no device is fit to judge"):
        engine.evaluate(JobSpec("j", "x", tmp_path), silent)


def test_whatever_goes_wrong_with_a_judge_its_slot_comes_back(
    engine_on: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_on(ABSENT)

    def no_descriptors(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(judges, "JudgeProcess", no_descriptors)
    for _ in range(2):
        with pytest.raises(OSError, match="too many"):
            engine.ready()


def test_a_job_that_only_waited_for_a_gpu_that_fell_sick_is_no_attempt(sick: LocalEngine, tmp_path: Path) -> None:
    sick.ready()
    slot = sick._roster.take_idle()
    assert slot is not None
    waits, outcome = threading.Event(), []

    def wait() -> None:
        try:
            sick.evaluate(JobSpec("waits", "x", tmp_path), lambda _: waits.set())
        except HarnessError as error:
            outcome.append(error)

    waiter = threading.Thread(target=wait)
    waiter.start()
    assert waits.wait(120)
    sick._roster.set_aside(slot, "fell off the bus")
    waiter.join(120)
    assert isinstance(outcome[0], NoDevice)
    assert "fell off the bus" in str(outcome[0])


class QuickJudge(StubJudge):
    def evaluate(self, *_: object) -> Evaluation:
        return Evaluation(verdict=Verdict.PASSED, phase=Phase.MEASURE)


class FirstUnfit(QuickJudge):
    """The judge of slot 0 does not start, or finds its device sick before the job has begun; others do well."""

    starts = False

    def __init__(self, _settings: Settings, slot: int, *_: object) -> None:
        super().__init__()
        self._slot = slot

    def await_ready(self) -> None:
        if self._slot == 0 and not self.starts:
            raise HarnessError("CUDA hangs")

    def evaluate(self, *_: object) -> Evaluation:
        if self._slot == 0:
            raise FoundSick("the driver reports Xid 79")
        return super().evaluate()


@pytest.mark.parametrize(("starts", "reason"), [(False, "CUDA hangs"), (True, "the driver reports Xid 79")])
def test_a_job_whose_gpu_is_sick_before_it_begins_is_judged_on_the_next_one_or_is_no_attempt(
    engine_on: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, starts: bool, reason: str
) -> None:
    monkeypatch.setattr(judges, "JudgeProcess", FirstUnfit)
    monkeypatch.setattr(FirstUnfit, "starts", starts)
    engine = engine_on(ABSENT, replace(ABSENT, index=1, uuid="GPU-99999999-9"))
    for number in range(3):
        assert engine.evaluate(JobSpec(f"j{number}", "x", tmp_path), silent).verdict is Verdict.PASSED
    assert [device.reason for device in engine.devices()] == [reason, None]
    with pytest.raises(NoDevice, match=reason):
        engine_on(ABSENT).evaluate(JobSpec("j", "x", tmp_path), silent)


def test_what_a_job_waited_for_a_device_is_told_apart_from_what_it_took(
    engine_on: Callable[..., LocalEngine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    engine = engine_on(ABSENT)
    monkeypatch.setattr(judges, "JudgeProcess", QuickJudge)
    clock = iter(range(0, 1000, 10))
    monkeypatch.setattr(local, "time", types.SimpleNamespace(monotonic=lambda: float(next(clock))))
    found = engine.evaluate(JobSpec("j", "x", tmp_path), silent)
    assert (found.waited_ms, found.evaluate_ms) == (10_000, 10_000)


def test_a_gpu_that_reports_an_xid_is_drained_and_takes_no_further_job(sick: LocalEngine, tmp_path: Path) -> None:
    sick.ready()
    assert sick.devices()[0].reason is None
    with pytest.raises(HarnessError, match="Xid 79"):
        sick.evaluate(JobSpec("j", "x", tmp_path), silent)
    assert "Xid 79" in (sick.devices()[0].reason or "")
    with pytest.raises(HarnessError, match="no device is fit to judge"):
        sick.ready()


def test_the_job_of_a_sick_gpu_waits_again_without_a_verdict_and_one_attempt_is_all_it_costs(
    sick: LocalEngine, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path / "books")
    settings.paths.create()
    migrate.ensure_ready(settings.database_url)
    database, me = Database(settings.database_url), Owner.current()
    try:
        repository, spool = Repository(database), Spool(settings.paths, me)
        types_known = catalog.contract_types(catalog.load())
        clerk = Clerk(settings, spool, repository, History(database), sick, types_known)
        write_bundle(tmp_path, compare(forward("return a + b"), timeout=120), {}).rename(settings.paths.inbox / "job")
        claimed = clerk.take_in("job")
        lease = repository.lease_next(me.tag, 60)
        assert lease is not None
        assert clerk.judge(lease, silent) is Unended.RETRIED
        job = History(database).job(claimed.job_id)
        assert job is not None
        assert (job.state, job.verdict, job.attempts) == (JobState.QUEUED, None, 1)
        with pytest.raises(HarnessError, match="no device is fit to judge"):
            sick.ready()  # asked before every lease: nothing more is burned on this host
    finally:
        database.close()
