"""What every route works with, and the answers that several of them give."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
import anyio.to_thread
from fastapi import Depends, Request, Security
from fastapi.security import HTTPBearer

from daemon.config import Settings
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.records import JobRecord
from daemon.http.answers import JobAnswer
from daemon.http.attendance import Attendance
from daemon.http.door import turn_of
from daemon.http.gate import Gate
from daemon.http.meters import Meters
from daemon.http.races import OverError, until
from daemon.http.refusals import RETRY_AFTER_S, Refusal, stopping
from daemon.http.submission import Submission, Submitted
from daemon.http.tokens import Caller
from daemon.http.watch import Stopping, Watch
from daemon.intake.spool import Spool
from daemon.publishing import Publisher

_TELLING_BYTES = 200
_PACKED = (b"\x1f\x8b", b"PK\x03\x04")  # gzip, zip
_PAIR = re.compile(rb"[\w.%-]+=")


@dataclass(frozen=True)
class Desk:
    """One server's parts."""

    settings: Settings
    database: Database
    history: History
    spool: Spool
    publisher: Publisher
    gate: Gate
    submission: Submission
    watch: Watch
    attendance: Attendance
    meters: Meters
    parsing: anyio.CapacityLimiter  # large bodies take many times their size while they are parsed

    def require_open(self) -> None:
        """Raise `Refusal` 503 while nothing new is taken."""
        if self.watch.is_stopping:
            raise stopping()
        if self.attendance.seen.draining:
            hint = "an admin undoes it with: evald drain --undo HOST"
            raise Refusal(503, "every daemon is draining", hint=hint, retry_after_s=RETRY_AFTER_S)

    async def take(self, request: Request, caller: Caller, key: str | None, *kinds: str) -> Submitted:
        """The job that a body makes. Raises `Refusal`, `BundleError`."""
        self.require_open()
        if len(request.headers.getlist("idempotency-key")) > 1:
            raise Refusal(422, "several Idempotency-Key headers", hint="send one")
        async with self.gate.body(request) as document:
            _require_no_wrapping(request.headers.get("content-type", ""), document)
            parsed = await anyio.to_thread.run_sync(self.submission.check, document, *kinds, limiter=self.parsing)
            return await anyio.to_thread.run_sync(self.submission.drop, document, parsed, caller, key)

    def stop(self) -> None:
        """Take nothing new and let everybody go; for the event loop's thread."""
        self.watch.stop()
        self.gate.stop()

    async def judged(self, request: Request, caller: Caller, key: str | None, *kinds: str) -> dict[str, Any]:
        """Make a job of a body and wait for its result document. If there is no place to wait, no job is made. Raises
        `Refusal`, `BundleError`."""
        with self.watch.place(caller):
            return await self._result_of(request, await self.take(request, caller, key, *kinds), caller)

    async def _result_of(self, request: Request, job: Submitted, caller: Caller) -> dict[str, Any]:
        """Raises `Refusal` 408 or 503, which say where it will be, and 401."""
        place = f"GET /jobs/{job.job_id}/result"
        limit_s = job.timeout_s + self.settings.http.wait_margin_s
        turn_of(request).leave()
        try:
            in_time = await until(self.watch.end_of(job.job_id, limit_s), _gone(request))
        except OverError:
            raise Refusal(408, "the client went away") from None  # nobody reads it
        except Stopping:
            raise stopping(f"the job goes on; ask again: {place}", job_id=job.job_id) from None
        if not in_time:
            why = self.attendance.seen.reason
            hint = f"the job goes on; its result will be at {place}" + (f" ({why})" if why else "")
            raise Refusal(408, f"no result after {limit_s:g} s", hint=hint, job_id=job.job_id)
        await self.gate.require_known(caller)
        record = await self.record(job.job_id)
        if record is None or record.document is None:
            text = f"the result of job {job.job_id} was removed"
            raise Refusal(404, text, hint="a cleanup removes what is old; send it again", job_id=job.job_id)
        return dict(record.document)

    async def record(self, job_id: str) -> JobRecord | None:
        """The job of the database, with its document."""
        return await anyio.to_thread.run_sync(self.history.job, job_id)

    async def job(self, job_id: str, caller: Caller, *, again: bool = False) -> JobAnswer:
        """Everything about one job, wherever it is. Raises `Refusal` 404."""
        self.require_reader(job_id, caller)
        record = await self.record(job_id)
        if record is not None:
            waits = [] if record.state.final else await anyio.to_thread.run_sync(self.history.deferrals_of, [job_id])
            reasons = [f"{deferral.host}: {deferral.reason}" for deferral in waits]
            has_result = record.state.final and record.document is not None
            return JobAnswer.of(record, has_result=has_result, waits_because=reasons)
        if again:
            raise unknown(job_id)
        if (name := await anyio.to_thread.run_sync(self.submission.name_on_the_way, job_id)) is not None:
            return JobAnswer.waiting(job_id, name)
        return await self.job(job_id, caller, again=True)  # it may just have gone from there into the database

    def require_reader(self, job_id: str, caller: Caller) -> None:
        """Raise `Refusal` 404 where results are for submitters and this caller is not the one."""
        if self.settings.results_for == "submitter" and not caller.owns(job_id):
            raise unknown(job_id)


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        continue


def unknown(job_id: str) -> Refusal:
    return Refusal(404, f"there is no job {job_id}", hint="GET /jobs lists them; old ones are removed after a while")


async def desk_of(request: Request) -> Desk:
    """A coroutine although it waits for nothing: otherwise FastAPI would run it in a thread, and wait for one."""
    desk: Desk = request.app.state.desk
    return desk


_BEARER = HTTPBearer(auto_error=False, description="As `evald token NAME` printed it. Not needed on loopback.")


async def caller_of(request: Request, _shown: Annotated[object, Security(_BEARER)]) -> Caller:
    """Who calls; the security scheme is only here to be described."""
    return await (await desk_of(request)).gate.admit(request)


TheDesk = Annotated[Desk, Depends(desk_of)]
TheCaller = Annotated[Caller, Depends(caller_of)]


def _require_no_wrapping(content_type: str, document: bytes) -> None:
    """Raise `Refusal` 415 for the fields of a form, and for a file that holds others. The type is not enough: curl
    calls a body a form by default, and it may well be a contract."""
    kind, begins = content_type.partition(";")[0].strip().lower(), document[:_TELLING_BYTES].lstrip()
    is_of_pairs = kind == "application/x-www-form-urlencoded" and _PAIR.match(begins)
    if kind == "multipart/form-data" or is_of_pairs:
        hint = "the body is the contract itself, as JSON: curl -d @FILE; in Python json=…, not data=… or files=…"
        raise Refusal(415, "the body is a form", hint=hint)
    if begins.startswith(_PACKED):
        hint = "send the contract as JSON, its sources in source_code; archives are for the inbox"
        raise Refusal(415, "the body is compressed, or an archive", hint=hint)
