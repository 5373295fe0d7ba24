"""Calls are waited for as long as calls like them are worth, and the contract's timeout is the most."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from executor_bundles import Doc, JudgeOne, compare, forward, with_enough_time
from executor_settings import cell_uid, small_settings
from waiting import wait_for

from daemon.config import Deadlines
from daemon.evaluation import Failure
from daemon.executor.cells import conversation
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.endings import CellFailed, TooSlow
from daemon.executor.cells.patience import Patience
from daemon.executor.cells.settings import CellSettings
from daemon.executor.host.devices import choose
from daemon.executor.host.supervise import start_plain
from daemon.executor.local import LocalEngine
from daemon.verdict import Phase, Side, Verdict

FAILURE = Failure(phase=Phase.CHECK, side=Side.CANDIDATE, message="killed")


def waited_s(patience: Patience, calls: int, timeout_s: float) -> float:
    now = time.monotonic()
    with patience.waiting(calls, now + timeout_s) as limit:
        return limit - now


def test_nothing_is_known_of_the_first_call_and_the_timeout_is_always_the_most() -> None:
    patience = Patience(2.0)
    assert waited_s(patience, 1, 50.0) == pytest.approx(50.0)
    patience.saw(10, 0.1)
    assert waited_s(patience, 1, 50.0) == pytest.approx(3.0, abs=1.0)
    assert waited_s(patience, 20, 50.0) == pytest.approx(22.0, abs=1.0)
    assert waited_s(patience, 20, 5.0) == pytest.approx(5.0)


def test_the_fastest_calls_say_what_is_usual_and_no_calls_say_nothing() -> None:
    patience = Patience(0.0)
    patience.saw(0, 5.0)
    assert patience.limit_s(1) is None
    for calls, wall_s in ((1, 3.0), (100, 1.0), (1, 7.0)):
        patience.saw(calls, wall_s)
    assert patience.limit_s(3) == pytest.approx(3.0)


def test_a_launched_call_is_worth_what_the_others_was() -> None:
    candidate, reference = Patience(1.5), Patience(30.0)
    assert candidate.launched_s(reference) is None
    reference.saw(1, 0.02)
    candidate.saw(1, 9.0)
    assert candidate.launched_s(reference) == pytest.approx(3.5)


def test_floors_come_from_the_settings_and_a_reference_has_more_time() -> None:
    deadlines = Deadlines(call_s=4, gpu_call_s=0.5)
    found = {}
    for device in ("cpu", "cuda"):
        for side in Side:
            patience = Patience.of(deadlines, device, side)
            patience.saw(1, 0.0)
            found[device, side] = patience.limit_s(1)
    assert found["cpu", Side.CANDIDATE] == 4
    assert found["cuda", Side.CANDIDATE] == 0.5
    assert found["cpu", Side.REFERENCE] == 40
    assert found["cuda", Side.REFERENCE] == 5


def test_only_what_ran_into_this_limit_says_so() -> None:
    patience = Patience(0.0)
    patience.saw(1, 0.001)
    slow = TooSlow(FAILURE.model_copy(update={"message": "9 s were over; killed"}), "killed")
    for raised, timeout_s, said in (
        (slow, 60.0, "2 calls did not end within 0.2 s ("),
        (slow, 0.01, "9 s were over; killed"),
        (CellFailed(Verdict.RUNTIME_ERROR, FAILURE), 60.0, "killed"),
    ):
        with pytest.raises(CellFailed) as caught, patience.waiting(2, time.monotonic() + timeout_s):
            raise raised
        assert str(caught.value).startswith(said)
        assert str(caught.value).endswith("killed")
        assert ("9 s" in str(caught.value)) is (timeout_s < 1)


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    deadlines = Deadlines(build_s=120, start_s=300, call_s=2)
    home = tmp_path_factory.mktemp("hasty")
    engine = LocalEngine(small_settings(home, sandbox={"uid_base": cell_uid(6)}, deadlines=deadlines))
    yield engine
    engine.close()


@pytest.fixture
def judge(hasty: LocalEngine, tmp_path: Path, judge_in: Callable[[LocalEngine, Path], JudgeOne]) -> JudgeOne:
    return judge_in(hasty, tmp_path)


HANG = """
    self.calls = getattr(self, 'calls', 0) + 1
    if self.calls >= {at}:
        import time
        time.sleep(1000)
    return a + b
    """


@pytest.mark.sandbox
@pytest.mark.parametrize(("at", "phase"), [(3, Phase.CHECK), (9, Phase.MEASURE)])
def test_a_kernel_that_hangs_later_is_not_waited_for_until_its_timeout(judge: JudgeOne, at: int, phase: Phase) -> None:
    judged = with_enough_time(  # some call of a busy machine may take two seconds as well
        judge,
        lambda judged: judged.case.failure is not None and judged.failure.phase is phase,
        lambda _: compare(forward(HANG.format(at=at)), timeout=600),
    ).ended(Verdict.TIMEOUT, "did not end within")
    assert judged.failure.phase is phase
    assert judged.failure.side is Side.CANDIDATE


@pytest.mark.sandbox
def test_a_first_call_that_hangs_is_told_the_contracts_timeout_and_how_to_have_more(judge: JudgeOne) -> None:
    limits_s: list[float] = []

    def hanging(timeout_s: float) -> Doc:
        limits_s.append(timeout_s)
        return compare(forward(HANG.format(at=1)), timeout=timeout_s)

    judged = with_enough_time(judge, lambda judged: judged.verdict is Verdict.TIMEOUT, hanging)
    told = f"the time limit was over, {limits_s[-1]} s (`timeout` in the contract); everything"
    judged.ended(Verdict.TIMEOUT, told)


@pytest.mark.sandbox
def test_a_slow_first_call_is_no_hang(judge: JudgeOne) -> None:
    slow = HANG.replace(">= {at}", "== 1").replace("1000", "4")
    judge(compare(forward(slow), timeout=300)).passed()


def played(tmp_path: Path, what: str) -> Cell:
    """A cell whose part is played by a program of our own, up already: it does `what` when it is told something."""
    script = tmp_path / "cell.py"
    script.write_text(
        "import socket, sys, time\nfrom daemon.executor.shared import protocol\n"
        "channel = socket.socket(fileno=int(sys.argv[1]))\n"
        "open(sys.argv[2], 'w').close()\n"
        f"protocol.receive(channel, protocol.Reader(protocol.MAX_TO_CELL))\n{what}",
        "utf-8",
    )
    ours, theirs = socket.socketpair()
    up = tmp_path / "up"
    program = start_plain(
        [sys.executable, str(script), str(theirs.fileno()), str(up)], {"PATH": ""}, keep_fds=(theirs.fileno(),)
    )
    theirs.close()
    wait_for(up.exists, "its start")
    settings = small_settings(tmp_path / "home")
    of = CellSettings.of(settings, choose(settings)[0], uid_step=0, slot=0, threads=1)
    return Cell(program, ours, Side.CANDIDATE, of)


@pytest.mark.sandbox
def test_what_the_judge_itself_did_not_run_is_nobodys_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the whole host is paused for an hour: the answer comes soon when it goes on."""
    cell = played(tmp_path, "time.sleep(0.5)\nprotocol.send(channel, {'type': 'done'})\n")
    drain, paused_s = cell._drain, [0.0]

    def paused(wait_s: float) -> None:
        drain(wait_s if paused_s[0] else 0)
        paused_s[0] = 3600.0

    monkeypatch.setattr(cell, "_drain", paused)
    monkeypatch.setattr(conversation, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + paused_s[0]))
    answer = cell.request({"type": "run"}, "done", phase=Phase.CHECK, deadline=time.monotonic() + 120)
    assert answer["type"] == "done"
    cell.kill()


@pytest.mark.sandbox
@pytest.mark.parametrize("asked", [True, False])
def test_a_cell_may_say_launched_only_where_it_is_asked_to(asked: bool, tmp_path: Path) -> None:
    """On a GPU it does; here a program of our own plays the cell."""
    cell = played(tmp_path, "protocol.send(channel, {'type': 'launched'})\ntime.sleep(1000)\n")
    wanted = Verdict.TIMEOUT if asked else Verdict.INTEGRITY_VIOLATION
    with pytest.raises(CellFailed) as caught:
        cell.request(
            {"type": "run"},
            "done",
            phase=Phase.CHECK,
            deadline=time.monotonic() + 500,
            launched_s=0.2 if asked else None,
        )
    assert caught.value.verdict is wanted
    assert ("more than 0.2 s after all of the call had been launched" in str(caught.value)) is asked
    assert cell.ended is not None
