"""Routes about jobs: listing, asking, following, cancelling."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Depends, Path, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, ConfigDict, Field

from daemon import durations
from daemon.db.history import History
from daemon.db.records import JobPage
from daemon.errors import HarnessError
from daemon.http.answers import (
    EXAMPLE_ID,
    CancelAnswer,
    JobAnswer,
    JobsAnswer,
    LabelCancelAnswer,
    LabelledJob,
    ProgressAnswer,
    ResultAnswer,
)
from daemon.http.cursors import cursor_of, token_of
from daemon.http.desk import Desk, TheCaller, TheDesk, unknown
from daemon.http.refusals import Refusal, explained, parameter, responses
from daemon.http.tokens import Caller, Role
from daemon.http.watch import Stopping
from daemon.labelled import Labelled
from daemon.lifecycle import JobState
from daemon.verdict import Verdict

router = APIRouter(tags=["jobs"])

_SWEEP_S = 10.0  # of a request that cancels many: before a proxy or a client gives it up
_UNESCAPED_PLUS = re.compile(r"(?P<before>T[\d:.]+) (?=\d\d:?\d\d$)")  # which is a space in a query
_LABEL = explained(r"^[^=]{1,255}=.{0,255}$", "must be KEY=VALUE, each of at most 255 characters")
JobId = Annotated[
    str,
    Path(
        pattern=explained(r"^[0-9a-f]{32}$", "a job id is 32 of the digits 0-9a-f"),
        examples=[EXAMPLE_ID],
    ),
]


class JobFilter(BaseModel):
    """Which jobs to list."""

    model_config = ConfigDict(extra="forbid")

    state: JobState | None = Field(None, description="Only jobs in this state; `waiting` ones are not listed")
    verdict: Verdict | None = Field(None, description="Only jobs with this verdict")
    name: str | None = Field(
        None, min_length=1, max_length=255, description="Only jobs of this name; until it runs, a job has its file's"
    )
    problem: str | None = Field(
        None, min_length=1, max_length=255, description="Only solutions of this problem; known once a job runs"
    )
    label: str | None = Field(
        None,
        pattern=_LABEL,
        description="KEY=VALUE; known once a job is claimed, or, if its contract is packed, once it runs",
        examples=["team=a"],
    )
    since: str | None = Field(None, max_length=64, description="12h, 30d, or a date", examples=["24h"])
    limit: int = Field(50, ge=1, le=500)
    cursor: str | None = Field(None, max_length=128, description="`cursor` of the page before, as it is")

    def page(self, history: History, tag: str | None) -> JobPage:
        """The jobs, only those of the caller with this tag if given.

        Raises `Refusal` 422 for a time or a cursor that is none.
        """
        key, _, value = (self.label or "").partition("=")
        with parameter("query.since"):
            since = (
                durations.parse_since(_UNESCAPED_PLUS.sub(r"\g<before>+", self.since), "since") if self.since else None
            )
        with parameter("query.cursor"):
            return history.jobs(
                state=self.state,
                verdict=self.verdict,
                name=self.name,
                problem=self.problem,
                label=(key, value) if self.label else None,
                since=since,
                limit=self.limit,
                cursor=None if self.cursor is None else cursor_of(self.cursor),
                ending_in=tag,
            )


@router.get("/jobs", response_model=JobsAnswer, responses=responses(), summary="List jobs, newest first")
async def jobs(desk: TheDesk, caller: TheCaller, wanted: Annotated[JobFilter, Query()]) -> JobsAnswer:
    """Lists jobs that a daemon has claimed. Of one that waits in the inbox, only `GET /jobs/{job_id}` tells. Where
    results are for submitters, it lists the caller's own jobs only."""
    all_of_them = desk.settings.results_for == "everybody" or caller.role is Role.ADMIN
    page = await anyio.to_thread.run_sync(wanted.page, desk.history, None if all_of_them else caller.tag)
    cursor = None if page.cursor is None else token_of(page.cursor)
    return JobsAnswer(jobs=[JobAnswer.of(job, has_result=job.state.final) for job in page.jobs], cursor=cursor)


@router.get("/jobs/{job_id}", response_model=JobAnswer, responses=responses(404), summary="One job")
@router.get("/job/{job_id}", response_model=JobAnswer, responses=responses(404), summary="The same as /jobs/{job_id}")
async def job(job_id: JobId, desk: TheDesk, caller: TheCaller) -> JobAnswer:
    """How far it is, and its result once there is one."""
    return await desk.job(job_id, caller)


@router.get("/jobs/{job_id}/result", response_model=ResultAnswer, responses=responses(404), summary="Its result")
async def result(job_id: JobId, desk: TheDesk, caller: TheCaller) -> Any:
    """The result document. 404 while there is none: `GET /jobs/{job_id}/events` tells when there is."""
    answer = await desk.job(job_id, caller)
    if answer.result is None:
        hint = f"it is {answer.status}; follow it at GET /jobs/{job_id}/events"
        raise Refusal(404, f"job {job_id} has no result yet", hint=hint, job_id=job_id)
    return answer.result


async def _followed(job_id: JobId, desk: TheDesk, caller: TheCaller) -> JobAnswer:
    """The job as it is when a stream begins: what is refused is refused before the first event."""
    answer = await desk.job(job_id, caller)
    desk.watch.require_room(caller)
    return answer


@router.get(
    "/jobs/{job_id}/events",
    response_class=EventSourceResponse,
    responses=responses(404),
    summary="Follow a job (server-sent events)",
)
async def events(
    job_id: JobId, desk: TheDesk, caller: TheCaller, answer: Annotated[JobAnswer, Depends(_followed)]
) -> AsyncGenerator[ServerSentEvent, None]:
    """Sends an event `progress` for every change, and at last `result` with the result document.

    The stream ends earlier with an event `stopping` when the server stops, and with `refused` when the caller's token
    is revoked. The job goes on.
    """
    if answer.result is not None:
        yield ServerSentEvent(event="result", data=answer.result)
        return
    try:
        with desk.watch.place(caller):
            async with aclosing(desk.watch.changes(job_id)) as changes:
                async for glance in changes:
                    await desk.gate.require_known(caller)
                    yield ServerSentEvent(event="progress", data=ProgressAnswer.of(glance))
        if (result := (await desk.job(job_id, caller)).result) is None:
            raise Refusal(410, f"job {job_id} went back to the inbox", hint="ask for its events again", job_id=job_id)
    except Stopping:
        yield ServerSentEvent(event="stopping", data={"job_id": job_id})
        return
    except Refusal as refusal:
        yield ServerSentEvent(event="refused", data=refusal.answer.model_dump(mode="json", exclude_none=True))
        return
    yield ServerSentEvent(event="result", data=result)


@router.delete(
    "/jobs/{job_id}",
    response_model=CancelAnswer,
    responses=responses(404, 409),
    summary="Cancel a job, waiting or running",
)
async def cancel(job_id: JobId, desk: TheDesk, caller: TheCaller) -> CancelAnswer:
    """Its verdict is then `rejected`, and its message says who cancelled it. A caller may cancel its own jobs, an admin
    any.
    """
    await desk.job(job_id, caller)
    if not caller.owns(job_id):
        raise Refusal(403, f"job {job_id} is not of {caller.name}", hint="only its sender or an admin may cancel it")
    return await anyio.to_thread.run_sync(_cancel, desk, job_id, caller)


class Sweep(BaseModel):
    """Which jobs to cancel at once."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field(pattern=_LABEL, description="KEY=VALUE, as in the contract", examples=["sweep=42"])
    dry_run: bool = Field(False, description="Only say which")


@router.delete(
    "/jobs", response_model=LabelCancelAnswer, responses=responses(), summary="Cancel every unfinished job with a label"
)
async def cancel_labelled(desk: TheDesk, caller: TheCaller, sweep: Annotated[Sweep, Query()]) -> LabelCancelAnswer:
    """Cancels waiting and running jobs, a whole sweep at once. For a caller only its own jobs; for an admin all jobs,
    even those that did not come over HTTP. It stops after some seconds and says `more`: ask again until there are none.
    Labels in an archive, or in a contract of more than 1 MiB, are not known before the job is judged.
    """
    tag = None if caller.role is Role.ADMIN else caller.tag
    return await anyio.to_thread.run_sync(_cancel_labelled, desk, sweep, caller, tag)


def _cancel_labelled(desk: Desk, sweep: Sweep, caller: Caller, tag: str | None) -> LabelCancelAnswer:
    key, _, value = sweep.label.partition("=")
    labelled = Labelled(desk.settings, desk.spool, desk.history, (key, value), ending_in=tag)
    if sweep.dry_run:
        found = [LabelledJob(job_id=one.job_id, name=one.name) for one in labelled.look().found]
        return LabelCancelAnswer(cancelled=found, more=False, dry_run=True)
    stop_s = time.monotonic() + _SWEEP_S
    cancelled: list[LabelledJob] = []
    try:
        for some in labelled.end(desk.publisher, f"{caller.name} (HTTP)"):
            cancelled += [LabelledJob(job_id=one.job_id, name=one.name) for one in some]
            if time.monotonic() > stop_s:
                break
        more = bool(labelled.look().found)
    except HarnessError:
        if not cancelled:
            raise
        more = True  # who asks again is told why
    return LabelCancelAnswer(cancelled=cancelled, more=more, dry_run=False)


def _cancel(desk: Desk, job_id: str, caller: Caller) -> CancelAnswer:
    if desk.publisher.cancel(job_id, f"{caller.name} (HTTP)") is None:
        job = desk.history.job(job_id)
        if job is None and desk.submission.name_on_the_way(job_id) is None:
            raise unknown(job_id)
        if job is None or not job.state.final:
            raise Refusal(503, f"job {job_id} is changing hands", hint="ask again", retry_after_s=1, job_id=job_id)
        raise Refusal(409, f"job {job_id} has ended already", hint=f"its result is at GET /jobs/{job_id}/result")
    return CancelAnswer(job_id=job_id)
