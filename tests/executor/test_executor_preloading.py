"""What spares load while nobody wants anything: step by step, the one first that is wanted first, and never in a job's
time."""

from __future__ import annotations

import fcntl
import os
import resource
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import torch
from executor_settings import cell_uid, small_settings
from waiting import wait_for

from daemon.errors import DeviceError, FoundSick
from daemon.executor.cells.settings import CellSettings
from daemon.executor.cells.spares import Nursery, Preloaded, Spares
from daemon.executor.cells.starting import Cells
from daemon.executor.cells.zygotes import Zygotes
from daemon.executor.host.devices import choose
from daemon.executor.host.forks import ForkedProgram
from daemon.executor.host.reservation import Reservation
from daemon.executor.inside import preloading
from daemon.executor.programs import judge
from daemon.executor.programs.jobs import Judge
from daemon.executor.sandbox import cgroup
from daemon.verdict import Side

_BEYOND_SELECT = 2048
_STEPS = len(preloading._USES) + len(preloading._PRODUCTS)


@pytest.fixture
def nursery(tmp_path: Path, zygotes: Zygotes) -> Iterator[Nursery]:
    """One spare of each kind."""
    settings = small_settings(tmp_path / "home", sandbox={"uid_base": cell_uid(51)})
    of = CellSettings.of(settings, choose(settings)[0], uid_step=0, slot=0, threads=1)
    cells = Cells(of, cgroup.find(), zygotes)
    made = Nursery({side: Spares(cells, 1) for side in (Side.REFERENCE, Side.CANDIDATE)})
    yield made
    made.close()


def test_each_step_loads_something_and_none_draws_a_random_number() -> None:
    before = torch.get_rng_state()
    assert len(list(preloading.steps("cpu"))) == _STEPS
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.sandbox
def test_spares_load_one_thing_at_a_time_and_the_references_first(nursery: Nursery) -> None:
    nursery.refill()
    steps: list[int] = []
    first, second = (nursery.spares[side] for side in (Side.REFERENCE, Side.CANDIDATE))
    deadline = time.monotonic() + 60
    while (found := nursery.preload()) is not Preloaded.ALL:
        assert time.monotonic() < deadline
        if found is Preloaded.STEP:
            steps.append(len(first._preloaded))
            assert first._preloaded or not second._preloaded
    assert len(steps) == 2 * (_STEPS + 1), "the last one says that it was"
    assert steps == sorted(steps)
    assert nursery.preload() is Preloaded.ALL
    cell = first.start(Side.REFERENCE)
    assert cell.versions
    cell.kill()
    assert not first._preloaded


@pytest.mark.sandbox
def test_one_that_has_died_is_let_go_and_keeps_nobody_busy(nursery: Nursery) -> None:
    nursery.refill()
    nursery._wait()
    (cell,) = nursery.spares[Side.REFERENCE]._ready
    cell.greet()
    assert isinstance(cell.program, ForkedProgram)
    os.kill(cell.program._init_pid, signal.SIGKILL)
    wait_for(cell.program.poll, "the cell's end")
    assert nursery.spares[Side.REFERENCE].preload(0) is Preloaded.ALL
    assert not nursery.spares[Side.REFERENCE]._ready


class _Judge(Judge):
    """One that has nothing but moments."""

    def __init__(self, moments: list[Preloaded], then: socket.socket) -> None:
        self._moments = iter(moments)
        self._then = then

    is_settled = False

    def settle(self) -> None:
        self.is_settled = True

    def use_the_moment(self) -> Preloaded:
        found = next(self._moments, None)
        if found is None:
            self._then.send(b"x")
            return Preloaded.STEP
        return found


def test_time_is_used_until_all_is_done_or_somebody_wants_something() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        judge.use_the_time(ours, _Judge([Preloaded.STEP, Preloaded.WAITING, Preloaded.ALL], theirs), Reservation(None))
        ours.setblocking(False)
        with pytest.raises(BlockingIOError):
            ours.recv(1)
        judge.use_the_time(ours, _Judge([Preloaded.STEP], theirs), Reservation(None))
        assert ours.recv(1) == b"x"


def test_a_judge_hears_a_daemon_that_has_a_thousand_clients() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard <= _BEYOND_SELECT:
        pytest.skip("so many descriptors are not allowed here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, _BEYOND_SELECT + 1), hard))
    ours, theirs = socket.socketpair()
    try:
        with ours, theirs, socket.socket(fileno=fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, _BEYOND_SELECT)) as channel:
            judge.use_the_time(channel, _Judge([Preloaded.STEP], theirs), Reservation(None))
            assert channel.recv(1) == b"x"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize(
    ("moments", "is_kept"), [([Preloaded.ALL], False), ([Preloaded.STEP], True)], ids=["nothing to do", "a bundle"]
)
def test_a_gpu_is_given_up_when_there_is_nothing_to_do_on_it(moments: list[Preloaded], *, is_kept: bool) -> None:
    uuid = f"GPU-{uuid4()}"
    mine, other = Reservation(uuid), Reservation(uuid)
    mine.acquire(lambda _: None)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        idle = _Judge(moments, theirs)
        judge.use_the_time(ours, idle, mine)
    assert idle.is_settled is not is_kept, "nothing may be coming up on it any more"
    if is_kept:
        with pytest.raises(DeviceError):
            other.acquire(lambda _: None, patience_s=0.0)
    else:
        other.acquire(lambda _: None, patience_s=0.0)


def test_a_gpu_is_given_up_between_two_bundles_when_another_evald_waits_for_it() -> None:
    uuid = f"GPU-{uuid4()}"
    mine, other, is_waiting = Reservation(uuid), Reservation(uuid), threading.Event()
    mine.acquire(lambda _: None)
    thread = threading.Thread(target=other.acquire, args=(lambda _: is_waiting.set(),))
    thread.start()
    assert is_waiting.wait(300)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"the next bundle")
        busy = _Judge([], theirs)
        judge.use_the_time(ours, busy, mine)
    thread.join(300)
    assert busy.is_settled
    assert not thread.is_alive()


def test_a_bundle_whose_device_is_not_to_be_had_has_not_been_begun() -> None:
    class Taken(Reservation):
        def acquire(self, waiting: Callable[[str], None], patience_s: float = 0.0) -> None:
            waiting("waiting for the GPU")
            raise DeviceError("waited in vain")

    told: list[str] = []
    with pytest.raises(FoundSick, match="waited in vain"):
        judge.reserve(Taken(None), told.append)
    assert told == ["waiting for the GPU"]


@pytest.mark.sandbox
def test_spares_that_come_up_are_waited_for_before_a_gpu_is_given_up(nursery: Nursery) -> None:
    nursery.refill()
    nursery.settle()
    assert all(cell.versions for spares in nursery.spares.values() for cell in spares._ready)
    assert all(spares._ready for spares in nursery.spares.values())
