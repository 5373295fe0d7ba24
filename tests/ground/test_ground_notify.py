"""sd_notify on real sockets, and what counts as proof of progress."""

from __future__ import annotations

import os
import re
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import wait_for

from daemon.notify import Keeper, KernelView, Notifier, Vigil, kernel_view


class Listener:
    """The service manager's end."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(120)

    def receive(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    def is_quiet(self) -> bool:
        return not select.select([self.socket], [], [], 0)[0]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    made = Listener(str(tmp_path / "notify"))
    yield made
    made.socket.close()


@pytest.fixture
def blocked() -> Iterator[Callable[[Callable[[], object], Callable[[], object]], threading.Thread]]:
    """Runs `before` and then something endless in a thread, which is set free at the end."""
    started: list[tuple[threading.Thread, Callable[[], object]]] = []

    def start(body: Callable[[], object], free: Callable[[], object]) -> threading.Thread:
        thread = threading.Thread(target=body, daemon=True)
        started.append((thread, free))
        thread.start()
        return thread

    yield start
    for thread, free in started:
        free()
        thread.join(120)


@pytest.mark.parametrize("abstract", [False, True])
def test_messages_arrive_as_the_protocol_wants_them(tmp_path: Path, abstract: bool) -> None:
    listener = Listener(f"@evald-test-{os.getpid()}" if abstract else str(tmp_path / "socket"))
    notifier = Notifier(listener.address, 8.0)
    assert notifier.ready("2 queued")
    assert listener.receive() == ["READY=1", "STATUS=2 queued"]
    assert notifier.alive()
    assert listener.receive() == ["WATCHDOG=1"]
    assert notifier.extend(1.5)
    assert listener.receive() == ["EXTEND_TIMEOUT_USEC=1500000"]
    assert notifier.stopping("bye")
    assert listener.receive() == ["STOPPING=1", "STATUS=bye"]
    listener.socket.close()


def test_a_status_can_never_become_another_message(listener: Listener) -> None:
    Notifier(listener.address).status("judging a\nMAINPID=1\0" + "x" * 1000)
    (line,) = listener.receive()
    assert line.startswith("STATUS=judging a MAINPID=1 x")
    assert len(line) < 500


def test_without_a_socket_nothing_is_sent_and_nothing_fails(tmp_path: Path) -> None:
    assert not Notifier().ready("ready")
    assert not Notifier(str(tmp_path / "nobody-listens")).ready("ready")


def test_the_environment_is_understood_and_not_left_to_children() -> None:
    mine = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid()), "HOME": "/x"}
    notifier = Notifier.from_environment(mine)
    assert (notifier.is_heard, notifier.watchdog_s, mine) == (True, 4.0, {"HOME": "/x"})
    for_another = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": "1"}
    assert Notifier.from_environment(for_another).watchdog_s is None
    assert not Notifier.from_environment({"NOTIFY_SOCKET": "vsock:2:1234"}).is_heard
    assert not Notifier.from_environment({}).is_heard
    assert Notifier.from_environment({"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "soon"}).watchdog_s is None


def test_nothing_is_proved_before_the_first_mark(listener: Listener) -> None:
    keeper = Keeper(Notifier(listener.address, 1.0), Vigil())
    assert not keeper.turn()
    assert listener.is_quiet()


def test_a_fresh_mark_is_enough_whatever_the_thread_does() -> None:
    vigil = Vigil(lambda _: KernelView.LOCKED)
    vigil.mark("scanning", 60)
    assert vigil.look().wedged == ()


@pytest.mark.parametrize(
    ("view", "storage", "content"),
    [
        (KernelView.BLOCKED, True, True),
        (KernelView.BLOCKED, False, False),
        (KernelView.LOCKED, True, False),
        (KernelView.RUNNING, True, False),
    ],
)
def test_an_old_mark_is_forgiven_only_for_storage_that_sleeps_in_the_kernel(
    view: KernelView, storage: bool, content: bool
) -> None:
    vigil = Vigil(lambda _: view)
    vigil.mark("scanning", -1, storage=storage)
    look = vigil.look()
    assert bool(look.wedged) is not content
    assert bool(look.waiting) is content
    assert "scanning" in "".join(look.wedged + look.waiting)


def test_a_thread_that_has_ended_counts_as_wedged() -> None:
    vigil = Vigil()
    thread = threading.Thread(target=lambda: vigil.mark("judging", 1000), name="slot-0")
    thread.start()
    thread.join()
    wait_for(lambda: vigil.look().wedged, "the slot to be missed")
    assert "slot-0 has ended" in vigil.look().wedged[0]


def test_the_kernel_tells_a_deadlock_from_a_wait_for_data_and_from_an_endless_loop(blocked) -> None:
    lock = threading.Lock()
    lock.acquire()
    ours, theirs = socket.socketpair()
    loop = threading.Event()

    def spin() -> None:
        while not loop.is_set():
            pass

    waiting = blocked(lambda: theirs.recv(1), ours.close)
    wait_for(lambda: kernel_view(waiting.native_id) is KernelView.BLOCKED, "it to block")
    locked = blocked(lock.acquire, lock.release)
    wait_for(lambda: kernel_view(locked.native_id) is KernelView.LOCKED, "it to wait for the lock")
    spinning = blocked(spin, loop.set)
    views = {kernel_view(spinning.native_id) for _ in range(50)}
    assert KernelView.BLOCKED not in views
    assert kernel_view(1 << 30) is KernelView.GONE


def test_a_pipe_that_never_answers_keeps_the_pings_coming_and_a_deadlock_stops_them(
    listener: Listener, blocked
) -> None:
    vigil = Vigil()
    keeper = Keeper(Notifier(listener.address, 1.0), vigil)
    read_end, write_end = os.pipe()

    def hang() -> None:
        vigil.mark("scanning /srv/inbox", 0.01, storage=True)
        os.read(read_end, 1)

    hanging = blocked(hang, lambda: os.close(write_end))
    wait_for(lambda: kernel_view(hanging.native_id) is KernelView.BLOCKED and vigil.look().waiting, "it to hang")
    assert keeper.turn()
    (status,) = listener.receive()
    assert re.match(r"STATUS=waiting: scanning /srv/inbox for \d+ s", status)
    assert listener.receive() == ["WATCHDOG=1"]

    lock = threading.Lock()
    lock.acquire()

    def deadlock() -> None:
        vigil.mark("claiming x", 0.01, storage=True)
        lock.acquire()

    stuck = blocked(deadlock, lock.release)
    wait_for(lambda: kernel_view(stuck.native_id) is KernelView.LOCKED and vigil.look().wedged, "it to be stuck")
    assert not keeper.turn()
    (status,) = listener.receive()
    assert "is waiting for a lock: claiming x" in status
    assert listener.is_quiet()


def test_while_stopping_only_progress_buys_time(listener: Listener) -> None:
    vigil = Vigil()
    keeper = Keeper(Notifier(listener.address, 1.0), vigil)
    keeper.stopping("giving back")
    assert listener.receive() == ["STOPPING=1", "STATUS=giving back"]
    vigil.mark("giving a back", 60)
    assert not keeper.turn()
    assert listener.receive() == ["EXTEND_TIMEOUT_USEC=30000000"]
    keeper.turn()
    assert listener.is_quiet()


def test_the_keeper_pings_by_itself_and_stops_with_its_block(listener: Listener) -> None:
    vigil = Vigil()
    vigil.mark("scanning", 60)
    keeper = Keeper(Notifier(listener.address, 0.2), vigil)
    keeper.say("1 queued")
    with keeper:
        seen = [listener.receive() for _ in range(4)]
    assert seen[0] == ["STATUS=1 queued"]
    assert seen.count(["WATCHDOG=1"]) == 3


def test_a_process_without_descriptors_still_does_not_fail_for_the_service_manager(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none_left(*_: object) -> socket.socket:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    assert not Notifier("/run/nobody").stopping("stopping")
