"""What is compiled is compiled before the job has a device; whatever goes wrong there is found again by the judge."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from executor_bundles import Doc, Judged, compare, evaluate, forward, io, kernel, tensor, write_bundle
from executor_settings import cell_uid, small_settings
from waiting import wait_for

from daemon.config import Settings
from daemon.engine import JobSpec, Progress
from daemon.errors import HarnessError, LostClaim
from daemon.executor import local
from daemon.executor.host.devices import CPU, Device
from daemon.executor.local import LocalEngine
from daemon.executor.programs import builder
from daemon.executor.programs.builder import Builder
from daemon.executor.shared import protocol
from daemon.executor.workshop import Workshop
from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

LIMIT_S = 300
GPU = Device(kind="cuda", uuid="GPU-0", capability=(9, 0))

RECIPE = """
import os
import time
from daemon.executor.source import Kernel, KernelFault

SPEC = {"io_required": True, "metadata_keys": [], "python": False, "build": True, "answers": "args"}

def build(source):
    word, _, rest = source.text.partition(" ")
    if word == "slow" or (word == "slow-beside" and os.sched_getscheduler(0) == os.SCHED_IDLE):
        time.sleep(float(rest))
    if word == "broken":
        raise KernelFault("compile_error", "this cannot be compiled: " + rest)
    source.artifacts.mkdir(parents=True, exist_ok=True)
    (source.artifacts / "factor").write_text("2")
    try:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        steps_forward = True
    except PermissionError:
        steps_forward = False
    idle = os.sched_getscheduler(0) == os.SCHED_IDLE
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(processors)})
    stays = os.sched_getaffinity(0) == processors
    return {"said": "built", "nice": os.nice(0), "idle": idle, "steps_forward": steps_forward, "stays": stays}

def load(source):
    factor = float((source.artifacts / "factor").read_text())
    return Kernel(lambda x, out: out.copy_(x * factor))
"""


def backends_in(place: Path) -> Path:
    """`recipe` is a kernel type that is compiled."""
    folder = place / "backends"
    folder.mkdir()
    (folder / "recipe.py").write_text(RECIPE, "utf-8")
    return folder


def engine_in(place: Path, uid: int) -> LocalEngine:
    """One slot, and one builder beside it."""
    sandbox = {"uid_base": cell_uid(uid)}
    return LocalEngine(small_settings(place / "home", backend_paths=(backends_in(place),), sandbox=sandbox, ahead=1))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    """For all tests that leave it as it was. Each gives its recipe a text of its own, which no other has had built."""
    made = engine_in(tmp_path_factory.mktemp("workshop"), 7)
    yield made
    made.close()


@pytest.fixture
def own_engine(tmp_path: Path) -> Iterator[LocalEngine]:
    made = engine_in(tmp_path, 8)
    yield made
    made.close()


def recipe(text: str) -> Doc:
    contract = io(tensor("x", [8]), tensor("out", [8], role="output"))
    return evaluate(kernel(text, "recipe", io=contract))


def job(tmp_path: Path, doc: Doc, name: str = "job", kernel_type: str = "recipe") -> JobSpec:
    return JobSpec(name, name, write_bundle(tmp_path, doc, {}), kernel_types=(kernel_type,))


class Running:
    """An evaluation in a thread of its own."""

    def __init__(self, engine: LocalEngine, job: JobSpec, on_progress: Callable[[Progress], None] = lambda _: None):
        self.begun = threading.Event()
        self.outcome: object = None

        def progress(one: Progress) -> None:
            on_progress(one)
            self.begun.set()

        def run() -> None:
            try:
                self.outcome = engine.evaluate(job, progress)
            except (HarnessError, LostClaim) as error:
                self.outcome = error

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def ended(self) -> object:
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()
        return self.outcome


def test_while_a_job_is_compiled_its_slot_is_free_and_the_judge_finds_it_built(
    engine: LocalEngine, tmp_path: Path
) -> None:
    idle_while_compiling: list[bool] = []

    def look(progress: Progress) -> None:
        if progress.text == "compiling" and not idle_while_compiling:
            slot = engine._roster.take_idle()
            idle_while_compiling.append(slot is not None)
            if slot is not None:
                engine._roster.give_back(slot)

    judged = Judged(Running(engine, job(tmp_path, recipe("slow 0.5")), look).ended()).passed()  # type: ignore[arg-type]
    assert idle_while_compiling == [True]
    assert judged.case.build["cached"] is True
    assert judged.case.build["said"] == "built"


def test_what_is_built_beside_a_measurement_gets_what_nobody_else_wants_of_the_processors_for_good(
    engine: LocalEngine, tmp_path: Path
) -> None:
    judged = Judged(Running(engine, job(tmp_path, recipe("quick beside"))).ended()).passed()  # type: ignore[arg-type]
    told = {key: judged.case.build[key] for key in ("nice", "idle", "steps_forward", "stays")}
    assert told == {"nice": 19, "idle": True, "steps_forward": False, "stays": True}


@pytest.mark.parametrize(("device", "expected"), [(CPU, {0, 1, 2, 3}), (GPU, {0, 1})])
def test_a_builder_leaves_the_processors_that_kernels_are_timed_on(
    device: Device, expected: set[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found: list[set[int]] = []

    def builder_of(*_args: object) -> object:
        found.append(processors)
        return None

    processors = {0, 1, 2, 3}
    monkeypatch.setattr(builder, "cores_here", lambda: [[number] for number in range(4)])
    monkeypatch.setattr(builder.os, "sched_setaffinity", lambda _, left: processors.intersection_update(left))
    monkeypatch.setattr(builder, "Builder", builder_of)
    ours, theirs = socket.socketpair()
    ours.close()
    settings = small_settings(tmp_path).model_dump_json()
    assert builder.main([str(theirs.detach()), settings, "0", device.as_json(), "1"]) == 1
    assert found == [expected]


def test_another_job_is_judged_meanwhile(engine: LocalEngine, tmp_path: Path) -> None:
    slow = Running(engine, job(tmp_path, recipe("slow 100"), "slow"))
    assert slow.begun.wait(LIMIT_S)
    other = job(tmp_path, compare(forward("return a + b")), "other", "torch")
    Judged(Running(engine, other).ended()).passed()  # type: ignore[arg-type]
    assert slow.outcome is None
    engine.cancel("slow")
    assert isinstance(slow.ended(), LostClaim)


def test_what_does_not_compile_has_the_verdict_and_words_of_its_judge(engine: LocalEngine, tmp_path: Path) -> None:
    judged = Judged(Running(engine, job(tmp_path, recipe("broken heart"))).ended())  # type: ignore[arg-type]
    judged.ended(Verdict.COMPILE_ERROR, "this cannot be compiled: heart")


def test_a_cancelled_build_ends_at_once_and_the_next_one_finds_a_builder(engine: LocalEngine, tmp_path: Path) -> None:
    building = Running(engine, job(tmp_path, recipe("slow 1000"), "first"))
    waiting = Running(engine, job(tmp_path, recipe("slow 1001"), "second"))
    wait_for(lambda: building.begun.is_set() or waiting.begun.is_set(), "one of them to be built")
    for name in ("second", "first", "nobody"):
        engine.cancel(name)
    assert isinstance(building.ended(), LostClaim)
    assert isinstance(waiting.ended(), LostClaim)
    judged = Judged(Running(engine, job(tmp_path, recipe("quick third"), "third")).ended()).passed()  # type: ignore[arg-type]
    assert judged.case.build["cached"] is True
    assert engine._workshop._orders == {}


def test_a_job_that_was_cancelled_while_it_was_compiled_costs_no_judge(engine: LocalEngine, tmp_path: Path) -> None:
    engine.ready()
    judge = engine._judges[0].program._process.pid
    building = Running(engine, job(tmp_path, recipe("slow 1000")))
    assert building.begun.wait(LIMIT_S)
    engine.cancel("job")
    assert isinstance(building.ended(), LostClaim)
    Judged(Running(engine, job(tmp_path, recipe("quick next"), "next")).ended()).passed()  # type: ignore[arg-type]
    assert engine._judges[0].program._process.pid == judge


def test_a_job_that_waits_for_a_device_can_be_cancelled_and_says_that_it_waits(
    engine: LocalEngine, tmp_path: Path
) -> None:
    engine.ready()
    slot = engine._roster.take_idle()
    assert slot is not None
    said: list[str] = []
    waits = threading.Event()

    def look(progress: Progress) -> None:
        said.append(progress.text)
        if progress.text == "waiting for a device":
            waits.set()

    running = Running(engine, job(tmp_path, recipe("quick but waiting")), look)
    assert waits.wait(LIMIT_S)
    assert said[0] == "compiling"
    engine.cancel("job")
    assert isinstance(running.ended(), LostClaim)
    engine._roster.give_back(slot)


def test_a_builder_that_dies_costs_nothing_but_time(engine: LocalEngine, tmp_path: Path) -> None:
    def kill(progress: Progress) -> None:
        builder = engine._workshop._builders.get(0)
        if progress.text == "compiling" and builder is not None:
            os.kill(builder[0].program._process.pid, signal.SIGKILL)

    judged = Judged(Running(engine, job(tmp_path, recipe("slow-beside 1000")), kill).ended()).passed()  # type: ignore[arg-type]
    assert judged.case.build["cached"] is False
    again = Judged(Running(engine, job(tmp_path, recipe("quick again"), "next")).ended()).passed()  # type: ignore[arg-type]
    assert again.case.build["cached"] is True


def test_closing_the_engine_ends_builds_and_waits(own_engine: LocalEngine, tmp_path: Path) -> None:
    building = Running(own_engine, job(tmp_path, recipe("slow 1000")))
    assert building.begun.wait(LIMIT_S)
    own_engine.close()
    assert isinstance(building.ended(), HarnessError | LostClaim)
    assert not any(builder.is_alive for builder, _ in own_engine._workshop._builders.values())


def test_who_waits_for_a_builder_says_so_and_what_that_raises_ends_the_wait(
    engine: LocalEngine, tmp_path: Path
) -> None:
    building = Running(engine, job(tmp_path, recipe("slow 1000"), "first"))
    assert building.begun.wait(LIMIT_S)

    def look(progress: Progress) -> None:
        assert progress.text == "waiting to be compiled"
        raise HarnessError("nobody wants to hear it")

    waiting = Running(engine, job(tmp_path, recipe("slow 1001"), "second"), look)
    assert str(waiting.ended()) == "nobody wants to hear it"
    assert list(engine._workshop._orders) == ["first"]
    engine.cancel("first")
    assert isinstance(building.ended(), LostClaim)


def test_a_job_that_is_given_up_before_its_builder_stands_is_not_built(own_engine: LocalEngine, tmp_path: Path) -> None:
    built: list[str] = []
    start = own_engine._workshop._start

    def cancelled_meanwhile(make: object) -> object:
        process = start(make)  # type: ignore[arg-type]
        own_engine.cancel("job")
        return process

    own_engine._workshop._start = cancelled_meanwhile  # type: ignore[assignment]
    running = Running(own_engine, job(tmp_path, recipe("slow 1000")), lambda progress: built.append(progress.text))
    assert isinstance(running.ended(), LostClaim)
    assert set(built) == {"waiting to be compiled"}


@pytest.mark.parametrize(
    ("gpus", "cores", "ahead", "expected"),
    [(0, 16, None, 0), (1, 16, None, 2), (4, 16, None, 8), (4, 6, None, 3), (0, 2, 3, 3), (1, 16, 0, 0)],
)
def test_how_many_jobs_are_prepared_follows_the_gpus_and_the_cores_unless_it_is_set(
    gpus: int, cores: int, ahead: int | None, expected: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(local.os, "sched_getaffinity", lambda _: set(range(cores)))
    devices = (GPU,) * gpus or (CPU,)
    assert local._ahead(Settings(home=tmp_path, ahead=ahead), devices) == expected


@pytest.mark.parametrize(("spare_cells", "ready"), [(0, 0), (2, 1)])
def test_a_builder_has_the_cell_of_its_next_build_started(tmp_path: Path, spare_cells: int, ready: int) -> None:
    sandbox = {"uid_base": cell_uid(9), "spare_cells": spare_cells}
    settings = small_settings(tmp_path / "home", backend_paths=(backends_in(tmp_path),), sandbox=sandbox)
    builder = Builder(settings, 0, CPU)
    cells = builder._builds.cells
    for number in range(2):
        builder.build(job(tmp_path, recipe(f"spare {number}"), f"job{number}").bundle_dir, lambda: None)
        assert not cells._ready, "it was handed out"
        builder.refill()
        assert len(cells._ready) == ready
    waiting = tuple(cells._ready)
    builder.build(job(tmp_path, recipe("spare 2"), "job2").bundle_dir, lambda: None)
    assert [cell.ended is not None for cell in waiting] == [True] * ready, "one build, one cell"
    cells._cells._zygotes.close()  # as the end of its process would


class _Diary:
    """In the place of a builder, in its own process: what it is told to do."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.has_used_the_moment = threading.Event()

    def build(self, bundle_dir: Path, on_begin: Callable[[], None]) -> None:
        on_begin()
        self.entries.append(bundle_dir.name)

    def refill(self) -> None:
        self.entries.append("the next cell")

    def use_the_moment(self) -> None:
        self.entries.append("a header")
        self.has_used_the_moment.set()


@pytest.mark.parametrize("somebody_waits", [True, False])
def test_the_header_that_the_next_extension_would_wait_for_is_made_when_nobody_waits(
    monkeypatch: pytest.MonkeyPatch, somebody_waits: bool
) -> None:
    monkeypatch.setattr(builder, "_A_MOMENT_S", LIMIT_S if somebody_waits else 0.0)
    ours, theirs = socket.socketpair()
    diary, reader = _Diary(), protocol.Reader(1 << 20)

    def serve() -> None:
        with suppress(protocol.ClosedError), theirs:
            builder.serve(theirs, diary)  # type: ignore[arg-type]

    thread = threading.Thread(target=serve)
    thread.start()
    with ours:
        ours.settimeout(LIMIT_S)
        for name in ("first", "second"):
            protocol.send(ours, {"type": "build", "bundle_dir": f"/bundles/{name}"})
            assert [protocol.receive(ours, reader)["type"] for _ in range(2)] == ["building", "built"]
            if not somebody_waits:
                assert diary.has_used_the_moment.wait(LIMIT_S)
    thread.join(LIMIT_S)
    before = diary.entries[: diary.entries.index("second")]
    assert before == ["first", "the next cell", *([] if somebody_waits else ["a header"])]


class _Builder:
    """Stands for a builder's process: answers when it may, and says what was done to it."""

    is_alive = True

    def __init__(self) -> None:
        self.done: list[str] = []
        self.asked = threading.Event()

    def await_ready(self) -> None: ...

    def send(self, message: dict[str, str]) -> None:
        self.done.append(f"builds {message['bundle_dir']}")
        self.asked.set()

    def receive(self, _limit_s: float) -> dict[str, str]:
        return {"type": "built"}

    def strike(self) -> None:
        self.done.append("strike")

    def end(self) -> None:
        self.done.append("end")


def test_a_builder_that_was_struck_when_its_order_had_just_ended_builds_for_nobody_else(tmp_path: Path) -> None:
    made: list[_Builder] = []

    def start(_make: object) -> _Builder:
        made.append(_Builder())
        return made[-1]

    workshop = Workshop(small_settings(tmp_path), 1, start)  # type: ignore[arg-type]
    receive = _Builder.receive

    def given_up_meanwhile(self: _Builder, limit_s: float) -> dict[str, str]:
        workshop.give_up("a")
        return receive(self, limit_s)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Builder, "receive", given_up_meanwhile)
        workshop.build(JobSpec("a", "a", Path("A")), CPU, lambda _: None)
    workshop.give_up("a")  # it has no order any more
    workshop.build(JobSpec("b", "b", Path("B")), CPU, lambda _: None)
    assert [builder.done for builder in made] == [["builds A", "strike", "end"], ["builds B"]]


def test_who_waits_gets_the_builder_that_is_free_first_not_the_one_that_is_started_for_it(tmp_path: Path) -> None:
    """Starting one takes seconds, and those that are there are done in less."""
    stands = threading.Event()
    made: list[_Builder] = []

    def start(_make: object) -> _Builder:
        made.append(_Builder())
        if len(made) > 1:
            assert stands.wait(LIMIT_S)
        return made[-1]

    is_done = threading.Event()

    def receive_when_done(self: _Builder, _limit_s: float) -> dict[str, str]:
        assert is_done.wait(LIMIT_S)
        return {"type": "built"}

    workshop = Workshop(small_settings(tmp_path), 2, start)  # type: ignore[arg-type]

    def build(name: str) -> threading.Thread:
        job = JobSpec(name, name, Path(name))
        thread = threading.Thread(target=workshop.build, args=(job, CPU, lambda _: None))
        thread.start()
        return thread

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_Builder, "receive", receive_when_done)
        build("a")
        wait_for(lambda: made and made[0].done, "the first to be built")
        second = build("b")
        wait_for(lambda: len(made) > 1, "a second builder")
        is_done.set()
        second.join(LIMIT_S)
        assert not second.is_alive(), "it waited for the one that was started for it"
        stands.set()
    assert [builder.done for builder in made] == [["builds a", "builds b"], []]


def test_where_no_builder_can_be_started_nobody_waits_for_one(tmp_path: Path) -> None:
    """The judge compiles then. Each of those that wait tries once."""
    tries: list[object] = []

    def start(make: object) -> _Builder:
        tries.append(make)
        raise HarnessError("no builder today")

    workshop = Workshop(small_settings(tmp_path), 1, start)  # type: ignore[arg-type]
    for name in ("a", "b"):
        workshop.build(JobSpec(name, name, Path(name)), CPU, lambda _: None)
    assert len(tries) == 2
    assert workshop._missing == [0]
