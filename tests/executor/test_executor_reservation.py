"""Several evald on one GPU take turns: real processes, and a GPU that nobody has."""

from __future__ import annotations

import errno
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from daemon.errors import DeviceError
from daemon.executor.host import reservation
from daemon.executor.host.devices import CPU
from daemon.executor.host.reservation import Reservation

HOLDER = """
import sys
from daemon.executor.host.reservation import Reservation
mine = Reservation(sys.argv[1])
mine.acquire(lambda said: None)
print("has it", flush=True)
sys.stdin.read()
"""


def nobody_waits(said: str) -> None:
    raise AssertionError(said)


@pytest.fixture
def gpu() -> str:
    return f"GPU-{uuid.uuid4()}"


@pytest.fixture
def holder(gpu: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that has the GPU."""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", HOLDER, gpu], stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "has it\n"
        yield process
        process.kill()


def test_whoever_comes_second_waits_and_is_told_for_whom(gpu: str, holder: subprocess.Popen[str]) -> None:
    told: list[str] = []

    def waiting(said: str) -> None:
        told.append(said)
        holder.kill()

    second = Reservation(gpu)
    second.acquire(waiting)
    assert told[0] == f"waiting for the GPU, which the evald of process {holder.pid} has reserved"
    second.release()


def test_nobody_waits_for_ever(gpu: str, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(DeviceError, match=f"process {holder.pid} has reserved"):
        Reservation(gpu).acquire(nobody_waits, patience_s=0.0)
    holder.kill()
    holder.wait()
    third = Reservation(gpu)
    third.acquire(nobody_waits)
    assert not third.is_wanted(), "whoever gave up left no trace"
    third.release()


def test_whoever_gives_it_up_and_asks_again_comes_after_those_who_wait(gpu: str) -> None:
    order: list[str] = []
    busy, patient, is_waiting = Reservation(gpu), Reservation(gpu), threading.Event()

    def wait_and_hold() -> None:
        patient.acquire(lambda _: is_waiting.set())
        order.append("who waited")
        patient.release()

    busy.acquire(nobody_waits)
    assert not busy.is_wanted()
    other = threading.Thread(target=wait_and_hold)
    other.start()
    assert is_waiting.wait(300)
    assert busy.is_wanted()
    busy.release()
    busy.acquire(lambda _: None)
    order.append("who was busy")
    other.join(300)
    busy.release()
    assert order == ["who waited", "who was busy"]


def test_a_cpu_is_nobodys_alone() -> None:
    first, second = Reservation.of(CPU), Reservation.of(CPU)
    for one in (first, second):
        one.acquire(nobody_waits)
        assert not one.is_wanted()
    first.release()


def test_a_host_that_forbids_such_names_is_told_of_and_judges_all_the_same(
    gpu: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Forbidden(socket.socket):
        def bind(self, address: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(reservation, "socket", SimpleNamespace(**vars(socket) | {"socket": Forbidden}))
    mine = Reservation(gpu)
    mine.acquire(nobody_waits)
    assert not mine.is_wanted()
    mine.release()
    assert [record.getMessage() for record in caplog.records] == [
        "cannot reserve the GPU: another evald may use it as well"
    ]


def test_to_have_it_twice_is_to_have_it_and_to_give_it_up_once_is_enough(gpu: str) -> None:
    mine = Reservation(gpu)
    mine.acquire(nobody_waits)
    mine.acquire(nobody_waits)
    mine.release()
    mine.release()
    other = Reservation(gpu)
    other.acquire(nobody_waits)
    other.release()
