"""What a judge leaves for later: the end of a case that nobody has to wait for, on a GPU. Here on a CPU, on request."""

from __future__ import annotations

import logging
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from executor_bundles import compare, forward, io, kernel, tensor, write_bundle
from executor_settings import cell_uid, small_settings

import daemon.executor.programs.jobs
from daemon.contract import TimingMode
from daemon.errors import DeviceError, HarnessError
from daemon.evaluation import CaseEvaluation, Failure
from daemon.executor.artifacts.bundle import Request
from daemon.executor.cases import case as case_module
from daemon.executor.cases.bench import Bench
from daemon.executor.cases.hookup import Hookup
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.endings import CellFailed
from daemon.executor.cells.patience import Patience
from daemon.executor.cells.settings import pool_threads
from daemon.executor.cells.zygotes import Zygotes
from daemon.executor.content import memory
from daemon.executor.content.arena import Arena
from daemon.executor.host.devices import CPU
from daemon.executor.programs import confinement
from daemon.executor.programs import judge as judge_program
from daemon.executor.programs.jobs import Judge
from daemon.executor.timing import rounds
from daemon.executor.timing.measure import Measurement
from daemon.executor.timing.nulls import Nulls
from daemon.executor.timing.sizing import MeasureRules
from daemon.verdict import Phase, Side, Verdict

RIGHT, WRONG = compare(forward("return a + b")), compare(forward("return a - b"))
Doc = dict[str, object]


@pytest.fixture
def judge(
    tmp_path_factory: pytest.TempPathFactory, zygotes: Zygotes, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Judge]:
    """A judge of its own for each test; what their cells are forked from is the same."""
    settings = small_settings(tmp_path_factory.mktemp("evald"), sandbox={"uid_base": cell_uid(5)})
    monkeypatch.setattr(confinement, "Zygotes", lambda: zygotes)
    judge = Judge(confinement.Confinement(settings, 0, CPU))
    judge._bench = replace(judge._bench, later=judge._endings.append)
    yield judge
    judge.close()


@pytest.fixture
def judged(judge: Judge, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Doc], CaseEvaluation]:
    def one(doc: Doc) -> CaseEvaluation:
        folder: Path = tmp_path_factory.mktemp("bundle")
        [case] = judge.evaluate(write_bundle(folder, doc, {}), lambda *_: None).cases
        return case

    return one


def test_a_judge_has_its_zygote_begin_before_it_imports_torch_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def imported(module: str) -> NoReturn:
        steps.append(module)
        raise HarnessError("no further")

    monkeypatch.setattr(confinement.Confinement, "begin", lambda _: steps.append("zygote"))
    monkeypatch.setattr(judge_program, "imported", imported)
    settings = small_settings(tmp_path, sandbox={"uid_base": cell_uid(5)})
    ours, theirs = socket.socketpair()
    with ours:
        arguments = [str(theirs.detach()), settings.model_dump_json(), "0", CPU.as_json(), "1"]
        assert judge_program.main(arguments) == 1
    assert steps == ["zygote", "daemon.executor.programs.jobs"]
    look = "import sys, daemon.executor.programs.judge; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", look], check=True)


@pytest.mark.sandbox
def test_what_is_too_large_for_the_host_is_nobodys_mistake(
    judged: Callable[[Doc], CaseEvaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_host_memory", lambda: (2000.0, 2000.0))
    case = judged(compare(forward("return a + b")))
    assert case.verdict is Verdict.UNSUPPORTED
    assert case.failure is not None
    assert "too large to be judged on this host" in case.failure.message


@pytest.mark.sandbox
def test_memory_that_others_hold_is_no_verdict_on_the_bundle(
    judged: Callable[[Doc], CaseEvaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another bundle beside it, say, which does not make this one `unsupported` for good. What the judge and the
    bundle's own cells hold is another matter."""
    monkeypatch.setattr(memory, "_COMES_BACK_S", 0.1)
    monkeypatch.setattr(memory, "_host_memory", lambda: (1e15, 2000.0))
    assert judged(RIGHT).verdict is Verdict.UNSUPPORTED
    monkeypatch.setattr(memory, "_COPIES", 10**9)
    with pytest.raises(HarnessError, match=r"GiB of memory are needed; others leave 0.0 GiB of the 931322.6 GiB"):
        judged(RIGHT)


@pytest.mark.sandbox
def test_calls_that_take_no_time_are_timed_in_evalds_own_where_the_contracts_is_used_up(
    judged: Callable[[Doc], CaseEvaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    until_s: list[float] = []
    run = Measurement.run

    def seen(measurement: Measurement, estimate_s: float, deadline: float, *rest: Any) -> Any:
        until_s.append(deadline - time.monotonic())
        return run(measurement, estimate_s, deadline, *rest)

    monkeypatch.setattr(Measurement, "run", seen)
    monkeypatch.setattr(case_module, "own_deadline", lambda deadline, _: deadline + 1000.0)
    assert judged(RIGHT).verdict is Verdict.PASSED
    monkeypatch.setattr(case_module, "_QUICK_S", 0.0)
    assert judged(RIGHT).verdict is Verdict.PASSED
    assert [left_s > 900.0 for left_s in until_s] == [True, False]


@pytest.mark.sandbox
def test_cases_after_the_time_of_a_bundle_is_over_are_not_begun_and_say_so(
    judge: Judge, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deadlines = judge._settings.deadlines.model_copy(update={"job_s": 1e-3})
    monkeypatch.setattr(judge, "_settings", judge._settings.model_copy(update={"deadlines": deadlines}))
    source, spec = "class Model(nn.Module):\n    def forward(self, a):\n        return a + 1\n", io(tensor("a", ["N"]))
    cases = [{"name": f"n{size}", "bind": {"N": size}} for size in (4, 8)]
    doc = compare(kernel(source, io=spec), kernel(source, io=spec), cases=cases)
    evaluation = judge.evaluate(write_bundle(tmp_path, doc, {}), lambda *_: None)
    assert [case.verdict for case in evaluation.cases] == [Verdict.PASSED, Verdict.TIMEOUT]
    assert (evaluation.verdict, evaluation.cases[1].bind) == (Verdict.TIMEOUT, {"N": 8})
    assert (evaluation.message or "").startswith("case n8: not judged: the cases before it took the 0.001 s")


@pytest.mark.sandbox
def test_a_kernel_whose_process_ends_when_it_is_captured_is_timed_by_its_calls(
    judged: Callable[[Doc], CaseEvaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Bench.rules

    def as_on_a_gpu(bench: Bench, request: Request) -> MeasureRules:
        return replace(usual(bench, request), graph=request.timing.mode is not TimingMode.STREAM)

    def end(*_: object, phase: Phase, **__: object) -> NoReturn:
        message = "the process was killed by SIGABRT before it had answered"
        raise CellFailed(Verdict.RUNTIME_ERROR, Failure(phase=phase, side=Side.CANDIDATE, message=message))

    monkeypatch.setattr(Bench, "rules", as_on_a_gpu)
    monkeypatch.setattr(rounds, "capture", end)
    case = judged(RIGHT)
    assert (case.verdict, case.timing and case.timing.mode) == (Verdict.PASSED, "stream")
    assert "not as a CUDA graph: while it was captured, the process was killed by SIGABRT" in case.notes[0]


@pytest.mark.sandbox
def test_a_source_of_inputs_that_fails_while_the_null_candidate_is_timed_is_to_blame_for_it(
    judged: Callable[[Doc], CaseEvaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(*_: object, **__: object) -> NoReturn:
        failure = Failure(phase=Phase.INPUTS, side=Side.REFERENCE, message="RuntimeError in get_inputs(): no more")
        raise CellFailed(Verdict.RUNTIME_ERROR, failure)

    monkeypatch.setattr(Nulls, "_round", draw)
    case = judged(RIGHT)
    assert case.verdict is Verdict.REJECTED
    assert case.failure is not None
    assert case.failure.message == "the reference is at fault (runtime_error): RuntimeError in get_inputs(): no more"


@pytest.mark.sandbox
def test_on_a_cpu_a_judge_has_no_more_threads_than_its_cells(judge: Judge) -> None:
    assert torch.get_num_threads() == pool_threads(judge._settings)


@pytest.mark.sandbox
def test_the_end_of_a_case_waits_until_the_next_one_begins(
    judge: Judge, judged: Callable[[Doc], CaseEvaluation]
) -> None:
    noisy = compare(forward("print('hello', flush=True); return a + b"))
    case = judged(noisy)
    assert case.verdict is Verdict.PASSED
    assert "hello" in case.stdout_tail, "what it printed is there although nobody has waited for its end"
    assert len(judge._endings) == 1
    assert judged(RIGHT).verdict is Verdict.PASSED
    assert len(judge._endings) == 1, "the first one's has been done"
    judge.finish()
    assert judge._endings == []


@pytest.mark.sandbox
def test_a_case_that_fails_is_over_when_its_result_is_there(
    judge: Judge, judged: Callable[[Doc], CaseEvaluation]
) -> None:
    assert judged(WRONG).verdict is Verdict.WRONG_ANSWER
    assert judge._endings == []


class Fate:
    """Cases that end as they are told, in place of real ones; `held`: beside how many ends that were not done yet."""

    def __init__(self, judge: Judge, monkeypatch: pytest.MonkeyPatch) -> None:
        self.held: list[int] = []
        self.ends: CaseEvaluation | HarnessError | None = None
        self.settles = False
        fate = self

        class Case:
            died_captured = None

            def __init__(self, *_: object) -> None:
                fate.held.append(len(judge._endings))

            def judge(self) -> CaseEvaluation:
                if fate.settles:
                    judge.finish()
                assert fate.ends is not None
                if isinstance(fate.ends, HarnessError):
                    raise fate.ends
                return fate.ends

        monkeypatch.setattr(daemon.executor.programs.jobs, "CaseJudge", Case)


@pytest.fixture
def fate(judge: Judge, monkeypatch: pytest.MonkeyPatch) -> Fate:
    return Fate(judge, monkeypatch)


def ended(verdict: Verdict, phase: Phase) -> CaseEvaluation:
    return CaseEvaluation(name="default", verdict=verdict, phase=phase)


@pytest.mark.parametrize(
    "failed",
    [
        ended(Verdict.OUT_OF_MEMORY, Phase.LOAD),
        ended(Verdict.REJECTED, Phase.INPUTS),
        ended(Verdict.COMPILE_ERROR, Phase.LOAD),
        ended(Verdict.RUNTIME_ERROR, Phase.CHECK),
    ],
)
def test_what_fails_before_its_first_call_beside_the_dead_of_the_case_before_counts_when_it_shows_again(
    judge: Judge, judged: Callable[[Doc], CaseEvaluation], fate: Fate, failed: CaseEvaluation
) -> None:
    fate.ends = failed
    assert judged(RIGHT).verdict is failed.verdict
    assert fate.held == [0], "nobody else held anything: it counts at once"
    judge._endings.append(lambda: None)
    assert judged(RIGHT).verdict is failed.verdict
    assert fate.held == [0, 1, 0]


def test_who_has_waited_for_the_dead_or_passed_gets_no_second_chance(
    judge: Judge, judged: Callable[[Doc], CaseEvaluation], fate: Fate
) -> None:
    fate.ends, fate.settles = ended(Verdict.OUT_OF_MEMORY, Phase.CHECK), True
    judge._endings.append(lambda: None)
    judged(RIGHT)
    fate.ends, fate.settles = ended(Verdict.COMPILE_ERROR, Phase.BUILD), False
    judge._endings.append(lambda: None)
    judged(RIGHT)
    fate.ends = ended(Verdict.PASSED, Phase.REPORT)
    judged(RIGHT)
    assert fate.held == [1, 1, 1]


def test_what_came_to_no_end_is_not_waited_for_twice(
    judge: Judge, judged: Callable[[Doc], CaseEvaluation], fate: Fate
) -> None:
    fate.ends = ended(Verdict.TIMEOUT, Phase.CHECK)
    judge._endings.append(lambda: None)
    assert judged(RIGHT).verdict is Verdict.TIMEOUT
    assert fate.held == [1]


def test_a_cell_that_cannot_be_had_beside_the_dead_is_asked_for_again(
    judge: Judge, judged: Callable[[Doc], CaseEvaluation], fate: Fate
) -> None:
    fate.ends = HarnessError("no context can be made")
    with pytest.raises(HarnessError, match="no context can be made"):
        judged(RIGHT)
    judge._endings.append(lambda: None)
    with pytest.raises(HarnessError, match="no context can be made"):
        judged(RIGHT)
    assert fate.held == [0, 1, 0]


def test_no_case_begins_after_an_end_that_failed_while_nobody_waited(
    judge: Judge, judged: Callable[[Doc], CaseEvaluation], fate: Fate
) -> None:
    def fail() -> None:
        raise RuntimeError("a process does not die")

    judge._endings.append(fail)
    judge.finish()
    with pytest.raises(DeviceError, match="does not die"):
        judged(RIGHT)
    assert fate.held == []


def test_an_end_that_fails_is_the_devices_fault_and_keeps_no_other_from_being_done(
    judge: Judge, judged: Callable[[Doc], CaseEvaluation], caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []

    def fail() -> None:
        raise RuntimeError("a process does not die")

    judge._endings += [fail, lambda: done.append("second")]
    with caplog.at_level(logging.ERROR), pytest.raises(DeviceError, match="does not die"):
        judged(RIGHT)
    assert done == ["second"]


SETTLED = """
import time
from daemon.executor.inside import workload
workload.settle = lambda device: time.sleep({s})
"""


COMPUTED_LATE = """
import time
from torch.utils._pytree import tree_map_only
slept = []
class Later(torch.Tensor):
    @staticmethod
    def __new__(cls, a, b):
        later = torch.Tensor._make_wrapper_subclass(cls, a.shape, dtype=a.dtype, device=a.device)
        later.inputs = a, b
        return later
    def computed(self):
        if not slept:
            slept.append(time.sleep({s}))
        return self.inputs[0] + self.inputs[1]
    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        args, kwargs = tree_map_only(Later, Later.computed, (args, kwargs or {}))
        return function(*args, **kwargs)
"""


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device goes on with a call when all of it has been launched. Here the cell only sleeps."""
    begin = Hookup.__init__

    def init(self: Hookup, *parts: Any) -> None:
        begin(self, *parts)
        self._goes_on = True

    monkeypatch.setattr(Hookup, "__init__", init)


@pytest.mark.sandbox
@pytest.mark.usefixtures("as_on_a_gpu")
def test_the_first_call_of_a_module_is_waited_for_as_long_as_the_references_is_worth(
    judged: Callable[[Doc], CaseEvaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    worked_s: list[float] = []
    monkeypatch.setattr(Patience, "worth_s", lambda _, work_s: worked_s.append(work_s) or 0.5)
    start = time.monotonic()
    case = judged(compare(forward("return a + b", before=SETTLED.format(s=1000)), timeout=600))
    assert (case.verdict, case.phase) == (Verdict.TIMEOUT, Phase.CHECK)
    assert case.failure is not None
    assert case.failure.side is Side.CANDIDATE
    assert time.monotonic() - start < 300, "not the contract's time"
    assert 0 < worked_s[0] < 60


@pytest.mark.sandbox
@pytest.mark.usefixtures("as_on_a_gpu")
def test_who_says_when_all_is_launched_passes_as_ever(judged: Callable[[Doc], CaseEvaluation]) -> None:
    assert judged(compare(forward("return a + b", before=SETTLED.format(s=0.01)))).verdict is Verdict.PASSED


@pytest.mark.sandbox
@pytest.mark.usefixtures("as_on_a_gpu")
def test_an_answer_that_is_computed_when_it_is_looked_at_is_not_all_launched_before(
    judged: Callable[[Doc], CaseEvaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    def passes(worth_s: float) -> bool:
        monkeypatch.setattr(Patience, "worth_s", lambda *_: worth_s)
        late = COMPUTED_LATE.replace("{s}", str(3 * worth_s))
        return judged(compare(forward("return Later(a, b)", before=late))).verdict is Verdict.PASSED

    assert passes(1.0) or passes(15.0)  # what is left of a call takes a second as well, on a busy machine


@pytest.mark.sandbox
def test_no_kernel_is_woken_before_all_of_its_content_has_arrived(
    judged: Callable[[Doc], CaseEvaluation], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Copies to a GPU are queued: who is woken too soon reads what lay there before, as indices perhaps."""
    publish, settle, thaw = Arena.publish, Arena.settle, Cell.thaw
    queued: list[list[int]] = []
    woken: list[bool] = []

    def publishing(arena: Arena, slots: list[int]) -> None:
        queued.append(slots)
        publish(arena, slots)

    def settling(arena: Arena) -> None:
        queued.clear()
        settle(arena)

    def thawing(cell: Cell) -> None:
        woken.append(not queued)
        thaw(cell)

    monkeypatch.setattr(Arena, "publish", publishing)
    monkeypatch.setattr(Arena, "settle", settling)
    monkeypatch.setattr(Cell, "thaw", thawing)
    assert judged(RIGHT).verdict is Verdict.PASSED
    assert woken
    assert all(woken)
