"""Waiting for jobs: one task looks at all that are awaited together, however many requests wait.

Theory of operation: a request registers the id it waits for and gets told of every change. The task sleeps while
nobody waits. A database that does not answer is waited out. When the server stops, everybody is told at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress

import anyio
import anyio.to_thread

from daemon import log
from daemon.db.history import History
from daemon.db.records import Glance
from daemon.http.refusals import Refusal
from daemon.http.tokens import LOCAL, Caller
from daemon.lifecycle import JobState

_PAUSE_S = 0.05
_PAUSE_LIMIT_S = 0.5
_SHARE = 4  # looking takes at most one part in so many of the time


_FORGOTTEN = Glance("", JobState.WITHDRAWN, None, None, has_result=False)


class Stopping(Exception):  # noqa: N818 - an expected end
    """The server stops; the job goes on."""


_ASK = "POST /jobs waits for nothing, and GET /jobs/{job_id} tells when there is a result"


class Watch:
    """Belongs to one event loop. Run it with `running`."""

    def __init__(self, history: History, limit: int, per_caller: int) -> None:
        """`limit`: how many may wait at the same time, `per_caller`: for one caller with a token."""
        self._history = history
        self._limit = limit
        self._per_caller = per_caller
        self._of_caller: Counter[str] = Counter()
        self._waiting: defaultdict[str, list[asyncio.Queue[Glance | None]]] = defaultdict(list)
        self._seen: dict[str, Glance] = {}
        self._wake = asyncio.Event()
        self._stopping = False
        self._looking = anyio.CapacityLimiter(1)  # a busy server still tells who waits

    @property
    def count(self) -> int:
        """How many wait."""
        return self._of_caller.total()

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    def stop(self) -> None:
        """Let everybody go; for the event loop's thread."""
        self._stopping = True
        for queues in self._waiting.values():
            for queue in queues:
                queue.put_nowait(None)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self.stop()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def require_room(self, caller: Caller) -> None:
        """Raise `Refusal` 503 while too many wait already, 429 while too many of them are this caller's."""
        if self.count >= self._limit:
            raise Refusal(503, "too many requests wait already", hint=_ASK, retry_after_s=5)
        if caller is not LOCAL and self._of_caller[caller.name] >= self._per_caller:
            text = f"{self._per_caller} requests of {caller.name} wait already"
            raise Refusal(429, text, hint=_ASK, retry_after_s=5)

    @contextmanager
    def place(self, caller: Caller) -> Iterator[None]:
        """Hold one of the places for waiting. To be taken before anything is begun that is then waited for. Raises as
        `require_room`."""
        self.require_room(caller)
        self._of_caller[caller.name] += 1
        try:
            yield
        finally:
            self._of_caller[caller.name] -= 1
            self._of_caller += Counter()  # forget who waits for nothing

    async def changes(self, job_id: str) -> AsyncGenerator[Glance, None]:
        """Every change of a job from now on. The last one is when it has its result, or when nobody knows it any more.
        Raises `Stopping`."""
        if self._stopping:
            raise Stopping
        queue: asyncio.Queue[Glance | None] = asyncio.Queue()
        self._waiting[job_id].append(queue)
        if (seen := self._seen.get(job_id)) is not None:
            queue.put_nowait(seen)
        self._wake.set()
        try:
            while (glance := await queue.get()) is not None:
                if glance is _FORGOTTEN:
                    return
                yield glance
                if glance.has_result:
                    return
            raise Stopping
        finally:
            self._waiting[job_id].remove(queue)
            if not self._waiting[job_id]:
                del self._waiting[job_id]
                self._seen.pop(job_id, None)

    async def end_of(self, job_id: str, limit_s: float) -> bool:
        """Wait until a job has its result. False: it has none after `limit_s`. Raises `Stopping`."""
        try:
            async with asyncio.timeout(limit_s), aclosing(self.changes(job_id)) as changes:
                async for _ in changes:
                    pass
        except TimeoutError:
            return False
        return True

    async def _run(self) -> None:
        complaint = log.Complaint()
        while True:
            if not self._waiting:
                self._wake.clear()
                await self._wake.wait()
            started_s = time.monotonic()
            try:
                found = await anyio.to_thread.run_sync(
                    self._history.glances, tuple(self._waiting), limiter=self._looking
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must not wait for a dead task
                complaint.say(f"cannot look at the jobs that are waited for: {error}")
            else:
                for job_id, glance in found.items():
                    self._tell(job_id, glance)
                for job_id in [job_id for job_id in self._seen if job_id not in found]:
                    self._end(job_id)
            took_s = time.monotonic() - started_s
            await asyncio.sleep(min(max(_PAUSE_S, took_s * _SHARE), _PAUSE_LIMIT_S))

    def _end(self, job_id: str) -> None:
        """Nobody knows this job any more: there is nothing to wait for."""
        del self._seen[job_id]
        for queue in self._waiting.get(job_id, ()):
            queue.put_nowait(_FORGOTTEN)

    def _tell(self, job_id: str, glance: Glance) -> None:
        if job_id not in self._waiting or self._seen.get(job_id) == glance:
            return
        self._seen[job_id] = glance
        for queue in self._waiting[job_id]:
            queue.put_nowait(glance)
