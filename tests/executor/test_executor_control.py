"""The control kernel: what its figures say, the baseline of a device, and the judges that are replaced for it.

Real judges and cells. No test says how fast anything is: tolerances are a hundredfold, and what is doctored is by a
factor beyond whatever a busy machine makes of the shortest and the longest round.
"""

from __future__ import annotations

import json
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from executor_bundles import compare, forward, write_bundle
from executor_settings import MIB, cell_uid, small_settings

from daemon.config import Limits, Settings, TimingDefaults
from daemon.engine import JobSpec, Progress
from daemon.errors import DeviceError, HarnessError
from daemon.evaluation import Control, Evaluation
from daemon.executor import baseline
from daemon.executor.baseline import Baseline, Drift, Identity
from daemon.executor.control import Decision, Figures, contract, decide, fingerprint, tolerance_on
from daemon.executor.controls import Controls
from daemon.executor.host.devices import CPU, Device
from daemon.executor.judges import JudgeProcess
from daemon.executor.local import LocalEngine
from daemon.verdict import Phase, Verdict

ALWAYS_S = 1e-6
GENEROUS = 100.0
BEYOND_ANY_LOAD = 1e12
GOOD = compare(forward("return a + b"))
# Rounds of 64 controls, 25 ms: of 16 a busy machine may leave nothing to tell from none.
TIMING = TimingDefaults(max_s=0.2, target_rse=0.05, min_rounds=5, max_calls=64, arena_bytes=32 * MIB)
ELEMENT_LIMIT = Limits(tensor_bytes=100_000)  # enough for the bundles here, not for the control


def figures(low: float, high: float | None = None) -> Figures:
    top = low if high is None else high
    return Figures(median_ms=(low + top) / 2, interval_ms=(low, top), rse=0.01, rounds=7)


# -- what figures say -----------------------------------------------------------------------------------------------

STEADY = figures(1.00, 1.01)


@pytest.mark.parametrize(
    ("known", "warm", "fresh", "decision"),
    [
        (None, [STEADY], None, Decision.FIRST),
        (STEADY, [STEADY], None, Decision.AGREES),
        (STEADY, [figures(1.02, 1.04)], None, Decision.AGREES),  # apart by less than the tolerance
        (STEADY, [figures(1.0, 9.0)], None, Decision.AGREES),  # scatters, which is no drift
        (STEADY, [figures(1.04, 1.05)], None, Decision.AGAIN),
        (STEADY, [figures(0.90, 0.97)], None, Decision.AGAIN),  # faster is drift too
        (STEADY, [figures(1.04, 1.05), STEADY], None, Decision.AGREES),  # it was a hiccup
        (STEADY, [figures(1.04, 1.05)] * 2, None, Decision.REPLACE),
        (STEADY, [figures(1.04, 1.05), figures(0.5)], None, Decision.REPLACE),
        (STEADY, [figures(1.04, 1.05)] * 2, STEADY, Decision.JUDGE_DRIFTED),
        (STEADY, [figures(1.04, 1.05)] * 2, figures(1.04, 1.05), Decision.DEVICE_CHANGED),
        (STEADY, [figures(1.04, 1.05)] * 2, figures(0.8), Decision.DEVICE_CHANGED),
        (STEADY, [figures(0.98, 0.985)], None, Decision.AGREES),
        (figures(1.0, 1.5), [figures(1.52, 1.6)], None, Decision.AGREES),  # the baseline scatters
        (None, [figures(2.0)] * 2, STEADY, Decision.FIRST),  # another torch was installed meanwhile
    ],
)
def test_what_follows_from_a_control(
    known: Figures | None, warm: list[Figures], fresh: Figures | None, decision: Decision
) -> None:
    assert decide(known, warm, fresh, tolerance=0.02) is decision


def test_on_a_cpu_a_neighbours_share_is_not_taken_for_drift() -> None:
    gpu = Device(kind="cuda", uuid="GPU-1")
    assert tolerance_on(gpu, Settings()) == 0.02
    assert tolerance_on(CPU, Settings()) == 0.25
    assert tolerance_on(CPU, Settings(control_tolerance=0.5)) == 0.5


def test_a_control_that_was_not_timed_is_a_fault_of_evald() -> None:
    with pytest.raises(HarnessError, match="the control kernel ended as timeout"):
        Figures.of(Evaluation(verdict=Verdict.TIMEOUT, phase=Phase.CHECK))
    with pytest.raises(HarnessError, match="the control kernel ended as passed"):
        Figures.of(Evaluation(verdict=Verdict.PASSED, phase=Phase.REPORT))


def test_the_control_of_a_gpu_is_larger_than_any_l2() -> None:
    [x, y] = contract("cuda")["kernel"]["io"]["args"]
    for spec in (x["tensor_spec"], y["tensor_spec"]):
        assert spec["shape"][0] * 4 >= 64 << 20
    assert contract("cpu")["kernel"]["source_code"] == contract("cuda")["kernel"]["source_code"]


# -- the file -------------------------------------------------------------------------------------------------------

HERE = Identity(evald="1", torch="2.9", device_name="H200", driver="570", workload="w")
NOW = datetime(2026, 11, 26, tzinfo=UTC)
KNOWN = Baseline(identity=HERE, figures=STEADY, at=NOW, last_at=NOW, drift=Drift(at=NOW, ratio=1.25))


def test_a_baseline_is_read_as_it_was_written(tmp_path: Path) -> None:
    baseline.write(tmp_path / "new" / "cpu.json", KNOWN)
    assert baseline.read(tmp_path / "new" / "cpu.json") == KNOWN
    assert baseline.read_for(tmp_path / "new" / "cpu.json", HERE) == KNOWN
    assert str(KNOWN.drift) == "its control kernel takes 25 % longer since 2026-11-26 00:00 UTC"


@pytest.mark.parametrize("name", ["evald", "torch", "device_name", "driver", "workload"])
def test_a_baseline_counts_for_what_it_was_measured_with_only(name: str, tmp_path: Path, said: list[str]) -> None:
    baseline.write(tmp_path / "cpu.json", KNOWN)
    assert baseline.read_for(tmp_path / "cpu.json", HERE.model_copy(update={name: "another"})) is None
    assert any("no longer counts" in line and name in line for line in said)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\0" * 200, b"[]", b'{"figures": 1}', b"\xff\xfe", KNOWN.model_dump_json().encode()[:-20],
     KNOWN.model_dump_json().replace("1.005", "0").encode(), KNOWN.model_dump_json().replace("1.005", "NaN").encode()],
    ids=lambda content: repr(content[:12]),
)  # fmt: skip
def test_a_torn_or_senseless_baseline_is_none_and_a_line_in_the_log(
    content: bytes, tmp_path: Path, said: list[str]
) -> None:
    path = tmp_path / "cpu.json"
    path.write_bytes(content)
    assert baseline.read(path) is None
    assert any("cannot be read" in line and str(path) in line for line in said)


def test_a_disk_that_refuses_the_baseline_fails_nothing(tmp_path: Path, said: list[str]) -> None:
    (tmp_path / "controls").write_text("a file where the folder should be")
    baseline.write(tmp_path / "controls" / "cpu.json", KNOWN)
    assert any("cannot write" in line for line in said)


def test_other_settings_of_the_measurement_are_another_workload(tmp_path: Path) -> None:
    settings = small_settings(tmp_path)
    longer = settings.model_copy(update={"timing": settings.timing.model_copy(update={"max_s": 9.0})})
    assert fingerprint("cpu", settings) == fingerprint("cpu", settings.model_copy(update={"slots": 3}))
    assert len({fingerprint("cpu", settings), fingerprint("cpu", longer), fingerprint("cuda", settings)}) == 3


# -- real judges ----------------------------------------------------------------------------------------------------


@dataclass
class Place:
    """One home, and the engines that come and go on it."""

    home: Path
    folder: Path
    engines: list[LocalEngine]

    def engine(self, **settings: object) -> LocalEngine:
        uid = cell_uid(60 + len(self.engines))
        self.engines.append(LocalEngine(controlled(self.home, uid, **settings)))
        return self.engines[-1]

    def judge(self, engine: LocalEngine) -> Control | None:
        """One evaluation that must pass; the control its result tells of."""
        bundle = write_bundle(self.folder, GOOD, {})
        evaluation = engine.evaluate(JobSpec(bundle.name, "test", bundle), lambda _: None)
        assert evaluation.verdict is Verdict.PASSED, evaluation
        return evaluation.environment.control

    @property
    def file(self) -> Path:
        return self.home / "state" / "controls" / "cpu.json"

    @property
    def baseline(self) -> Baseline:
        return Baseline.model_validate_json(self.file.read_bytes())

    def doctor(self, change: Callable[[Baseline], Baseline]) -> None:
        self.file.write_text(change(self.baseline).model_dump_json())


def controlled(home: Path, uid: int, **settings: object) -> Settings:
    changes = {"control_interval_s": ALWAYS_S, "control_tolerance": GENEROUS, "timing": TIMING, **settings}
    return small_settings(home, sandbox={"uid_base": uid}, **changes)


@dataclass
class Standing(Place):
    """The same, of one engine that stays: whoever asks for another gets it with nothing known of controls, as a new
    daemon begins, and spares it the start of a judge."""

    def engine(self, **settings: object) -> LocalEngine:
        [engine] = self.engines
        engine._controls = Controls(controlled(self.home, cell_uid(59), **settings), engine._roster.devices)
        return engine


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "bundles").mkdir()
    found = Place(tmp_path / "home", tmp_path / "bundles", [])
    yield found
    for engine in found.engines:
        engine.close()


@pytest.fixture(scope="module")
def standing_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    engine = LocalEngine(controlled(tmp_path_factory.mktemp("standing"), cell_uid(59)))
    yield engine
    engine.close()


@pytest.fixture
def standing(standing_engine: LocalEngine, tmp_path: Path) -> Place:
    home = standing_engine._settings.home
    shutil.rmtree(home / "state" / "controls", ignore_errors=True)
    return Standing(home, tmp_path, [standing_engine])


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Every story line, with its level and fields."""
    lines: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.levelname} {record.getMessage()} {getattr(record, 'fields', {})}")

    listener, logger = Listener(), logging.getLogger("evald")
    before = logger.level
    logger.addHandler(listener)
    logger.setLevel("INFO")
    yield lines
    logger.removeHandler(listener)
    logger.setLevel(before)


def pid_of(engine: LocalEngine, slot: int = 0) -> int:
    return engine._judges[slot].program._process.pid


def as_if_far_faster(known: Baseline) -> Baseline:
    low, high = (value / BEYOND_ANY_LOAD for value in known.figures.interval_ms)
    median = known.figures.median_ms / BEYOND_ANY_LOAD
    quick = known.figures.model_copy(update={"median_ms": median, "interval_ms": (low, high)})
    return known.model_copy(update={"figures": quick})


@pytest.mark.sandbox
def test_where_jobs_stand_in_line_the_control_is_timed_before_the_next_one(place: Place) -> None:
    """No slot is idle then at the time when the next job is leased."""
    engine = place.engine(ahead=1)
    assert place.judge(engine) is None
    control = place.judge(engine)
    assert control is not None
    assert (control.median_ms, control.ratio) == (place.baseline.figures.median_ms, 1)


@pytest.mark.sandbox
def test_the_control_is_timed_between_two_evaluations_and_is_in_the_next_result(standing: Place) -> None:
    engine = standing.engine()
    engine.ready()
    assert not standing.file.exists(), "the first job of a daemon waits for no control"
    assert standing.judge(engine) is None
    assert not standing.file.exists(), "a result waits for no control"
    engine.ready()
    known = standing.baseline
    control = standing.judge(engine)
    assert control is not None
    assert control.ratio == 1
    assert (control.median_ms, control.interval_ms) == (known.figures.median_ms, known.figures.interval_ms)
    assert control.age_s > 0
    assert known.identity.torch is not None
    assert known.drift is None


@pytest.mark.sandbox
def test_with_an_interval_of_0_there_are_no_controls(standing: Place) -> None:
    engine = standing.engine(control_interval_s=0)
    for _ in range(2):
        assert standing.judge(engine) is None
        engine.ready()
    assert not standing.file.parent.exists()


@pytest.mark.sandbox
def test_a_control_counts_for_its_interval_also_for_the_next_daemon(standing: Place) -> None:
    first = standing.engine(control_interval_s=3600)
    standing.judge(first)
    first.ready()
    known = standing.baseline
    first.ready()
    second = standing.engine(control_interval_s=3600)
    standing.judge(second)
    second.ready()
    assert standing.baseline == known
    assert standing.judge(second) is None, "the control of another judge is not this one's"


@pytest.mark.sandbox
def test_a_second_judge_is_compared_with_the_baseline_of_the_first(standing: Place) -> None:
    first = standing.engine()
    standing.judge(first)
    first.ready()
    known = standing.baseline
    second = standing.engine()
    second._judges.fresh(0)
    standing.judge(second)
    second.ready()
    assert standing.baseline == known.model_copy(update={"last_at": standing.baseline.last_at})
    assert standing.baseline.last_at > known.last_at
    control = standing.judge(second)
    assert control is not None
    assert control.ratio == pytest.approx(control.median_ms / known.figures.median_ms)


@pytest.mark.sandbox
def test_a_baseline_of_another_evald_is_replaced_without_a_word_about_drift(standing: Place) -> None:
    engine = standing.engine()
    standing.judge(engine)
    engine.ready()
    pid, real = pid_of(engine), standing.baseline.identity
    standing.doctor(lambda known: as_if_far_faster(known.model_copy(update={"identity": HERE})))
    engine.ready()
    assert standing.baseline.identity == real
    assert standing.baseline.drift is None
    assert engine.devices()[0].drift is None
    assert pid_of(engine) == pid


@pytest.mark.sandbox
def test_a_torn_baseline_is_replaced(standing: Place, said: list[str]) -> None:
    engine = standing.engine()
    standing.file.parent.mkdir(parents=True)
    standing.file.write_text('{"identity": {"evald"')
    standing.judge(engine)
    engine.ready()
    assert standing.baseline.drift is None
    assert any("cannot be read" in line for line in said)


@pytest.mark.sandbox
def test_where_a_fresh_judge_measures_the_same_the_device_has_changed_and_still_takes_jobs(
    standing: Place, said: list[str]
) -> None:
    engine = standing.engine()
    standing.judge(engine)
    engine.ready()
    pid = pid_of(engine)
    standing.doctor(as_if_far_faster)
    doctored = standing.baseline.figures
    engine.ready()
    assert pid_of(engine) != pid, "the judge was replaced"
    settled = standing.baseline
    assert settled.figures.ratio_to(doctored) > GENEROUS
    assert settled.drift is not None and settled.drift.ratio == settled.figures.ratio_to(doctored)
    [device] = engine.devices()
    assert device.reason is None, "drift drains nothing"
    assert "longer since" in (device.drift or "")
    assert any(line.startswith("WARNING the device changed") for line in said)
    control = standing.judge(engine)
    assert control is not None and control.ratio == 1
    engine.ready()
    assert standing.baseline == settled.model_copy(update={"last_at": standing.baseline.last_at}), (
        "and is at rest again"
    )


class Slowed:
    """A real judge, whose figures are far longer than they are."""

    def __init__(self, judge: JudgeProcess) -> None:
        self._judge = judge

    def evaluate(self, job: JobSpec, on_progress: Callable[[Progress], None]) -> Evaluation:
        evaluation = self._judge.evaluate(job, on_progress)
        [case] = evaluation.cases
        assert case.timing is not None
        low, high = (value * BEYOND_ANY_LOAD for value in case.timing.interval_ms)
        stats = case.timing.stats.model_copy(update={"median": case.timing.stats.median * BEYOND_ANY_LOAD})
        timing = case.timing.model_copy(update={"interval_ms": (low, high), "stats": stats})
        return evaluation.model_copy(update={"cases": (case.model_copy(update={"timing": timing}),)})


@pytest.mark.sandbox
def test_a_judge_that_measures_what_a_fresh_one_does_not_is_replaced_and_the_baseline_stays(
    standing: Place, said: list[str]
) -> None:
    engine = standing.engine()
    standing.judge(engine)
    engine.ready()
    known, pid = standing.baseline, pid_of(engine)
    engine._controls.run(0, Slowed(engine._judges[0]), lambda: engine._judges.fresh(0))
    assert pid_of(engine) != pid
    assert standing.baseline == known.model_copy(update={"last_at": standing.baseline.last_at})
    assert engine.devices()[0].drift is None
    assert any(line.startswith("WARNING the judge had drifted") for line in said)
    control = standing.judge(engine)
    assert control is not None and control.ratio < GENEROUS, "the fresh one's"


def test_the_third_control_in_a_row_that_fails_is_the_devices_fault(tmp_path: Path, said: list[str]) -> None:
    controls = Controls(controlled(tmp_path, cell_uid(58)), (CPU, CPU))
    for _ in range(2):
        assert controls.failed(0, HarnessError("no room")) is None
    assert controls.failed(1, HarnessError("no room")) is None, "of another slot"
    found = controls.failed(0, HarnessError("no room"))
    assert found is not None and "its control kernel failed 3 times in a row: no room" in found.message
    assert controls.failed(0, HarnessError("no room")) is None, "and counts anew"
    assert controls.failed(0, broken := DeviceError("its memory fails")) is broken
    assert sum("the control failed" in line for line in said) == 5


@pytest.mark.sandbox
@pytest.mark.thorough  # three starts of a judge
def test_a_control_that_fails_fails_no_job_and_three_in_a_row_set_the_device_aside(
    place: Place, said: list[str]
) -> None:
    engine = place.engine(limits=ELEMENT_LIMIT)
    for number in range(3):
        assert engine.devices()[0].reason is None
        assert place.judge(engine) is None
        if number < 2:
            engine.ready()
    with pytest.raises(HarnessError, match="no device is fit to judge"):
        engine.ready()
    assert "its control kernel failed 3 times in a row" in (engine.devices()[0].reason or "")
    assert sum("the control failed" in line for line in said) == 3
    assert not place.file.exists()


@pytest.mark.sandbox
def test_every_slot_has_a_control_of_its_own_judge(place: Place) -> None:
    engine = place.engine(slots=2, control_interval_s=3600)
    together = threading.Barrier(2, timeout=300)

    def judge() -> None:
        bundle = write_bundle(place.folder, GOOD, {})
        waited: list[object] = []

        def meet(progress: object) -> None:
            if not waited:
                waited.append(progress)
                together.wait()

        engine.evaluate(JobSpec(bundle.name, "test", bundle), meet)

    threads = [threading.Thread(target=judge) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(engine._judges) == [0, 1]
    for _ in range(3):
        engine.ready()
    assert [engine._controls.last_of(slot) is not None for slot in (0, 1)] == [True, True]
    assert json.loads(place.file.read_text())["drift"] is None


@pytest.mark.sandbox
def test_closing_the_engine_ends_a_control_and_is_no_failure_of_it(place: Place, said: list[str]) -> None:
    engine = place.engine(timing=TimingDefaults(max_s=20, target_rse=1e-6))
    quick = write_bundle(place.folder, {**GOOD, "timing": {"max_s": 0.2, "target_rse": 0.2}}, {})
    assert engine.evaluate(JobSpec("quick", "test", quick), lambda _: None).verdict is Verdict.PASSED
    ended: list[str] = []

    def ready() -> None:
        with pytest.raises(HarnessError) as raised:
            engine.ready()
        ended.append(str(raised.value))

    thread = threading.Thread(target=ready)
    thread.start()
    engine.close()
    thread.join(120)
    assert ended == ["the engine is closed"]
    assert not any("the control failed" in line for line in said)
    assert not place.file.exists()


def test_an_earlier_control_counts_by_its_age_and_one_from_the_future_not_at_all(place: Place) -> None:
    now = datetime.now(UTC)
    left = {}
    for name, age in (("fresh", timedelta(seconds=10)), ("old", timedelta(hours=2)), ("future", -timedelta(hours=2))):
        baseline.write(place.file, KNOWN.model_copy(update={"last_at": now - age}))
        engine = place.engine(control_interval_s=3600)
        engine._controls.judged(0)
        left[name] = engine._controls.is_due(0)
    assert left == {"fresh": False, "old": True, "future": True}
