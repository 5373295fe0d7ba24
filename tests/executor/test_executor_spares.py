"""Cells that stand ready: each is handed out once, none that died is, and none of two living ones shares a uid."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from executor_bundles import JudgeOne, compare, forward
from executor_settings import cell_uid, small_settings
from waiting import wait_for

from daemon.errors import HarnessError
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.settings import CellSettings
from daemon.executor.cells.spares import Nursery, Spares
from daemon.executor.cells.starting import Cells
from daemon.executor.cells.zygotes import Zygotes
from daemon.executor.host.devices import choose
from daemon.executor.host.forks import ForkedProgram
from daemon.executor.sandbox import cgroup
from daemon.verdict import Phase, Side

pytestmark = pytest.mark.sandbox


@pytest.fixture
def cells(tmp_path: Path, zygotes: Zygotes) -> Cells:
    settings = small_settings(tmp_path / "home", sandbox={"uid_base": cell_uid(50)})
    of = CellSettings.of(settings, choose(settings)[0], uid_step=0, slot=0, threads=1)
    return Cells(of, cgroup.find(), zygotes)


@pytest.fixture
def spares(cells: Cells) -> Iterator[Spares]:
    made = Spares(cells, 2)
    yield made
    made.close()


def pid_of(cell: Cell) -> int:
    assert isinstance(cell.program, ForkedProgram)
    return cell.program._init_pid


def uid_of(cell: Cell) -> int:
    """Of the cell itself, the one child of its pid 1, which has to drop root first."""
    cell.greet()
    children = Path(f"/proc/{pid_of(cell)}/task/{pid_of(cell)}/children").read_text("ascii").split()
    return Path(f"/proc/{children[0]}").stat().st_uid


def test_a_spare_is_handed_out_once_in_the_order_they_were_started(spares: Spares) -> None:
    spares.refill()
    waiting = [pid_of(cell) for cell in spares._ready]
    handed = [spares.start(Side.REFERENCE), spares.start(Side.CANDIDATE), spares.start(Side.CANDIDATE)]
    assert [pid_of(cell) for cell in handed[:2]] == waiting
    assert pid_of(handed[2]) not in waiting
    assert [cell.side for cell in handed] == [Side.REFERENCE, Side.CANDIDATE, Side.CANDIDATE]
    for cell in handed:
        cell.greet()
        assert cell.versions["torch"]
        cell.kill()


def test_a_spare_that_died_meanwhile_is_not_handed_out(spares: Spares) -> None:
    spares.refill()
    dead, living = (pid_of(cell) for cell in spares._ready)
    os.kill(dead, signal.SIGKILL)
    wait_for(spares._ready[0].program.poll, "the spare's end")
    cell = spares.start(Side.CANDIDATE)
    assert pid_of(cell) == living
    cell.kill()


def test_one_that_does_not_come_up_is_let_go_and_the_next_start_is_fresh(
    spares: Spares, cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    spares.refill()
    broken, second = spares._ready

    def never() -> None:
        broken.kill()
        raise HarnessError("it does not start")

    monkeypatch.setattr(broken, "greet", never)
    cell = spares.start(Side.CANDIDATE)
    assert cell is second
    cell.kill()
    assert not spares._ready

    def refused(_side: Side) -> Cell:
        raise HarnessError("no cell can be had")

    with monkeypatch.context() as patch:
        patch.setattr(cells, "start", refused)
        spares.refill()  # somebody will hear of it who needs one
        assert not spares._ready


def test_while_they_have_to_be_still_none_does_anything_and_afterwards_all_do(
    spares: Spares, monkeypatch: pytest.MonkeyPatch
) -> None:
    nursery = Nursery({Side.CANDIDATE: spares})
    nursery.refill()
    with nursery.still():
        pass
    for cell in spares._ready:
        cell.greet()
    assert len(spares._ready) == 2
    with nursery.still():
        assert not spares._stopped, "what waits to be told something does nothing"
    with monkeypatch.context() as patch:
        patch.setattr(Cell, "is_up", lambda _: False)
        with nursery.still():
            for cell in spares._ready:
                cell.tell({"type": "detach"}, phase=Phase.LOAD, deadline=time.monotonic() + 120)
            time.sleep(0.3)
            for cell in spares._ready:
                cell.require_silence()
    for cell in spares._ready:
        cell.await_answer("detached", phase=Phase.LOAD, deadline=time.monotonic() + 120)
    nursery.close()
    assert not spares._ready


def test_a_host_without_a_freezer_waits_for_a_cell_that_is_about_to_be_forked(
    spares: Spares, monkeypatch: pytest.MonkeyPatch
) -> None:
    spares.refill()
    second = spares._ready[1]
    second.greet()
    members, unborn = ForkedProgram._members, [[], []]
    monkeypatch.setattr(ForkedProgram, "_members", lambda self: unborn.pop() if unborn else members(self))
    assert isinstance(second.program, ForkedProgram)
    monkeypatch.setattr(second.program, "_group", None)
    second.freeze()
    assert not unborn
    second.tell({"type": "detach"}, phase=Phase.LOAD, deadline=time.monotonic() + 120)
    time.sleep(0.3)
    second.require_silence()
    second.thaw()
    second.await_answer("detached", phase=Phase.LOAD, deadline=time.monotonic() + 120)


def test_what_goes_wrong_in_the_nursery_is_no_fault_of_the_case(
    spares: Spares, cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    nursery = Nursery({Side.CANDIDATE: spares})

    def broken(_side: Side) -> Cell:
        raise ValueError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(cells, "start", broken)
        nursery.refill()
        with nursery.still():
            assert not spares._ready
    nursery.refill()
    with nursery.still():
        assert len(spares._ready) == 2
    nursery.close()


def test_one_that_dies_on_the_way_is_let_go_when_it_has_to_be_still(spares: Spares) -> None:
    spares.refill()
    dead, living = spares._ready
    os.kill(pid_of(dead), signal.SIGKILL)
    wait_for(dead.program.poll, "the spare's end")
    spares.stop()  # lets it go, unless it had come up before it died
    spares.go_on()
    assert spares.start(Side.CANDIDATE) is living
    living.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives cells uids of their own")
def test_cells_that_live_at_the_same_time_have_not_the_same_uid(spares: Spares) -> None:
    spares.refill()
    running = spares.start(Side.CANDIDATE)
    spares.refill()
    uids = [uid_of(cell) for cell in (running, *spares._ready)]
    assert len(set(uids)) == len(uids) == 3
    assert 0 not in uids
    running.kill()


def test_what_one_kernel_leaves_is_not_there_for_the_next(judge: JudgeOne) -> None:
    """The cell of the second one was started before the first one ran."""
    leave = "import os, builtins\nPath = __import__('pathlib').Path\n"
    body = (
        "print('seen=%s' % (os.path.exists('/tmp/left') or hasattr(builtins, 'left')), flush=True)\n"
        "Path('/tmp/left').write_text('x')\nbuiltins.left = True\nreturn a + b"
    )
    once = f"if not hasattr(self, 'done'):\n    self.done = True\n    {body.replace(chr(10), chr(10) + '    ')}"
    source = forward(f"{once}\nreturn a + b", before=leave)
    for number in range(3):
        judged = judge(compare(source.replace("class ModelNew", f"# {number}\nclass ModelNew")))
        judged.passed()
        assert judged.report["seen"] == "False"


@pytest.fixture
def coming(spares: Spares, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    """A nursery whose spares do not get up, so that whoever wants them still has to stop them."""
    nursery = Nursery({Side.CANDIDATE: spares})
    nursery.refill()
    nursery._wait()
    monkeypatch.setattr(Cell, "is_up", lambda _: False)
    yield nursery
    nursery.close()


def test_one_that_is_wanted_while_they_have_to_be_still_comes_up(spares: Spares, coming: Nursery) -> None:
    with coming.still():
        wanted = spares._ready[0]
        assert wanted in spares._stopped
        assert spares.start(Side.CANDIDATE) is wanted
        assert len(spares._stopped) == 1
    wanted.kill()


def test_who_is_still_inside_of_somebody_who_is_wakes_nobody(spares: Spares, coming: Nursery) -> None:
    with coming.still():
        with coming.still():
            assert len(spares._stopped) == 2
        assert len(spares._stopped) == 2
    assert not spares._stopped


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives cells uids of their own")
def test_no_cell_that_is_started_beside_spares_has_the_uid_of_one(cells: Cells, spares: Spares) -> None:
    spares.refill()
    waiting = [uid_of(cell) for cell in spares._ready]
    for _ in range(5):  # as many as there are tools, none of which takes a spare
        beside = cells.start(Side.CANDIDATE)
        assert uid_of(beside) not in waiting
        beside.kill()
