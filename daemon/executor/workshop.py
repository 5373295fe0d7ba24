"""The compile stage of a host: builders, each busy with one job at a time, so that no compiler runs on a device's time.

Theory of operation: a job whose kernels are compiled comes here before it gets a device. A builder leaves what it built
in the artifact cache, where the judge finds it; whatever fails here fails again there, with the words for the result.
Builders are started when there are more jobs than builders, and replaced when they have died; a job goes to the first
that is free, which is seldom the one that had to be started for it: that takes seconds, and a build a fraction of one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from daemon import log
from daemon.config import Settings
from daemon.engine import JobSpec, Progress
from daemon.errors import HarnessError, OperatorError
from daemon.executor.artifacts.headers import MAKE_LIMIT_S
from daemon.executor.host.devices import Device
from daemon.executor.trusted import TrustedProcess

_MODULE = "daemon.executor.programs.builder"
_SILENCE_LIMIT_S = 30.0 + MAKE_LIMIT_S  # beyond what one build may take: a header may have to be made for it

_WAIT_S = 5.0

Start = Callable[[Callable[[], TrustedProcess]], TrustedProcess]


@dataclass
class _Order:
    """One job that is here: with a builder, or waiting for one."""

    number: int | None = None
    is_given_up: bool = False
    failure: Exception | None = None  # of its builder, or of the one that was started for it


class Workshop:
    """`count` builders. `start` runs a function in a thread that outlives them. `slots`: beside whose measurements they
    build. Safe to use from several threads."""

    def __init__(self, settings: Settings, count: int, start: Start, *, slots: int = 0) -> None:
        self._settings = settings
        self._slots = slots
        self._start = start
        self._free: list[int] = []
        self._missing = list(range(count))  # numbers of builders that are not there
        self._starting = 0  # of those, in a thread of its own each
        self._builders: dict[int, tuple[TrustedProcess, Device]] = {}
        self._orders: dict[str, _Order] = {}
        self._changed = threading.Condition()
        self._closed = False

    def build(self, job: JobSpec, device: Device, on_progress: Callable[[Progress], None]) -> None:
        """Compile the kernels of `job` for `device`, when a builder is free. Returns early when the job is given up or
        the workshop closed."""
        order = self._take(job.job_id, device, lambda: on_progress(Progress(job.job_id, "waiting to be compiled")))
        if order.number is None:
            self._tell_of_failure(job, order)
            return
        try:
            self._have_built(order, job, device, on_progress)
        except (HarnessError, OperatorError) as error:
            self._discard(order.number)
            order.failure = error
            self._tell_of_failure(job, order)
        except BaseException:  # on_progress raised: the builder is in the middle of this job
            self._discard(order.number)
            raise
        finally:
            self._give_back(job.job_id, order, order.number)

    def _tell_of_failure(self, job: JobSpec, order: _Order) -> None:
        if order.failure is not None and not order.is_given_up and not self._closed:
            log.story("not built ahead", level=30, job=job.job_id, reason=order.failure)

    def _have_built(self, order: _Order, job: JobSpec, device: Device, on_progress: Callable[[Progress], None]) -> None:
        assert order.number is not None
        builder = self._builder(order.number, device)
        if order.is_given_up:  # before there was a builder to kill
            return
        builder.send({"type": "build", "bundle_dir": str(job.bundle_dir)})
        while True:
            answer = builder.receive(self._settings.deadlines.build_s + _SILENCE_LIMIT_S)
            if answer["type"] != "building":
                return  # built, or failed: then the judge will say how
            on_progress(Progress(job.job_id, "compiling"))

    def give_up(self, job_id: str) -> None:
        """Stop building for this job, or waiting to. Harmless when it is not here."""
        with self._changed:
            order = self._orders.get(job_id)
            if order is None:
                return
            order.is_given_up = True
            if order.number is not None and (builder := self._builders.get(order.number)) is not None:
                builder[0].strike()  # while it has this order; `_give_back` ends it before it gets another
            self._changed.notify_all()

    def close(self) -> None:
        """Kill every builder. Idempotent."""
        with self._changed:
            self._closed = True
            builders = [builder for builder, _ in self._builders.values()]
            self._changed.notify_all()
        for builder in builders:
            builder.end()

    def _take(self, job_id: str, device: Device, waiting: Callable[[], None]) -> _Order:
        """`order.number` is None when the job was given up first, or no builder could be started for it. `waiting` is
        called every few seconds, so that whoever watches over this thread sees that it is alive."""
        order = _Order()
        with self._changed:
            self._orders[job_id] = order
        try:
            while not self._is_settled(order):
                self._add_one(device, order)
                waiting()  # whatever it does, nobody waits for it here
                with self._changed:
                    self._changed.wait_for(lambda: self._is_settled(order), _WAIT_S)
        finally:
            with self._changed:
                if order.number is None:
                    del self._orders[job_id]
        return order

    def _is_settled(self, order: _Order) -> bool:
        """Whether it has a builder, or will get none. If one is free, it gets that here."""
        with self._changed:
            is_wanted = not self._closed and not order.is_given_up
            if self._free and order.number is None and is_wanted:
                order.number = self._free.pop()
            return order.number is not None or order.failure is not None or not is_wanted

    def _add_one(self, device: Device, order: _Order) -> None:
        """Start one more builder if more orders wait than builders are being started. It serves whoever is first when
        it is ready; `order` is told if it never is."""
        with self._changed:
            waiting = sum(one.number is None for one in self._orders.values())
            if self._free or not self._missing or self._starting >= waiting:
                return
            number = self._missing.pop()
            self._starting += 1
        try:
            threading.Thread(target=self._add, args=(number, device, order), daemon=True).start()
        except RuntimeError as error:  # no thread can be started
            order.failure = error
            self._end_start(number)

    def _add(self, number: int, device: Device, order: _Order) -> None:
        try:
            self._builder(number, device)
        except (HarnessError, OperatorError, OSError) as error:
            self._discard(number)
            order.failure = error
        finally:
            self._end_start(number)

    def _end_start(self, number: int) -> None:
        with self._changed:
            self._starting -= 1
            self._put_back(number)

    def _put_back(self, number: int) -> None:
        """To those that are free, or to those that are not there."""
        with self._changed:
            (self._free if number in self._builders else self._missing).append(number)
            self._changed.notify_all()

    def _give_back(self, job_id: str, order: _Order, number: int) -> None:
        with self._changed:
            del self._orders[job_id]  # from now on nobody strikes its builder
        if order.is_given_up:
            self._discard(number)
        self._put_back(number)

    def _builder(self, number: int, device: Device) -> TrustedProcess:
        known = self._builders.get(number)
        if known is not None and known[0].is_alive and known[1] == device:
            return known[0]
        self._discard(number)
        further = (str(self._slots),)
        builder = self._start(
            lambda: TrustedProcess(_MODULE, self._settings, number, device, gpu=None, further=further)
        )
        with self._changed:
            self._builders[number] = builder, device
            closed = self._closed
        if closed:
            raise HarnessError("the engine is closed")
        builder.await_ready()
        return builder

    def _discard(self, number: int) -> None:
        with self._changed:
            known = self._builders.pop(number, None)
        if known is not None:
            known[0].end()
