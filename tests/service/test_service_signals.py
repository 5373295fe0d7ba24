"""A signal stops what runs, whatever it is in the middle of."""

from __future__ import annotations

import io
import logging
import signal
import threading
from collections.abc import Iterator

import pytest

from daemon import log
from daemon.stopping import stopping_on_signals


class Interrupted(io.RawIOBase):
    """A stream on whose first write a signal arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.lines.append(bytes(data))
        if len(self.lines) == 1:
            signal.raise_signal(signal.SIGTERM)
        return len(data)


@pytest.fixture
def interrupted() -> Iterator[Interrupted]:
    """What log lines go to."""
    raw = Interrupted()
    handler = logging.StreamHandler(io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=True))
    level = log.LOGGER.level
    log.LOGGER.addHandler(handler)
    log.LOGGER.setLevel(logging.INFO)
    yield raw
    log.LOGGER.removeHandler(handler)
    log.LOGGER.setLevel(level)


def test_a_signal_in_the_middle_of_a_log_line_stops_all_the_same(interrupted: Interrupted) -> None:
    stopped = threading.Event()
    with stopping_on_signals(stopped.set):
        log.story("busy")
        assert stopped.wait(300)
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "a second one ends at once"
        assert signal.getsignal(signal.SIGINT) != signal.SIG_DFL
    assert [b"busy" in line or b"stopping" in line for line in interrupted.lines] == [True, True]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_stops_once_and_everything_is_as_before_afterwards(number: signal.Signals) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it
    handlers, asked, stopped = (
        {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)},
        [],
        threading.Event(),
    )

    def stop() -> None:
        asked.append(threading.current_thread())
        stopped.set()

    before = threading.active_count()
    with stopping_on_signals(stop):
        signal.raise_signal(number)
        assert stopped.wait(300)
    assert len(asked) == 1
    assert asked[0] is not threading.main_thread(), "with a lock in its hand it could wait for itself"
    assert {one: signal.getsignal(one) for one in handlers} == handlers
    assert signal.set_wakeup_fd(-1) == -1
    assert threading.active_count() == before


def test_under_nohup_a_terminal_may_go() -> None:
    asked: list[bool] = []
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_on_signals(lambda: asked.append(True)):
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
    assert asked == []


def test_without_a_signal_nothing_is_stopped() -> None:
    asked: list[bool] = []
    with stopping_on_signals(lambda: asked.append(True)):
        pass
    assert asked == []
