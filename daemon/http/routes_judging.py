"""Routes that judge: a request waits for its result, as clients of a judging server know it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Request

from daemon.http import examples
from daemon.http.answers import Accepted, ResultAnswer, Status
from daemon.http.desk import TheCaller, TheDesk
from daemon.http.refusals import explained, responses
from daemon.http.submission import KEY_LIMIT_CHARS

router = APIRouter(tags=["judging"])

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=KEY_LIMIT_CHARS,
        pattern=explained(r"^[\x21-\x7e]+$", "must be printable ASCII without spaces"),
        description="The same key with the same body is the same job, however often it is sent",
    ),
]
_ERRORS = responses(400, 408, 413, 415)


@router.post(
    "/evaluate",
    response_model=ResultAnswer,
    responses=_ERRORS,
    openapi_extra=examples.body("EvaluateDocument", "evaluate"),
    summary="Judge one kernel and wait for the result",
)
async def evaluate(request: Request, desk: TheDesk, caller: TheCaller, key: Key = None) -> Any:
    """Answers the result document when the job has ended, whatever the verdict.

    After the contract's `timeout` and the setting `http.wait_margin_s` without a result the answer is 408, and the job
    goes on.
    """
    return await desk.judged(request, caller, key, "evaluate")


@router.post(
    "/compare",
    response_model=ResultAnswer,
    responses=_ERRORS,
    openapi_extra=examples.body("CompareDocument", "compare", "LegacyDocument"),
    summary="Judge a kernel against a reference and wait for the result",
)
@router.post(
    "/",
    response_model=ResultAnswer,
    responses=_ERRORS,
    openapi_extra=examples.body("CompareDocument", "legacy", "LegacyDocument"),
    summary="The same as POST /compare",
)
async def compare(request: Request, desk: TheDesk, caller: TheCaller, key: Key = None) -> Any:
    """As `POST /evaluate`, for a compare or a legacy body (`ref_code` and `custom_code`)."""
    return await desk.judged(request, caller, key, "compare")


@router.post(
    "/jobs",
    status_code=202,
    response_model=Accepted,
    responses=responses(400, 408, 413, 415),
    openapi_extra=examples.body("EvaluateDocument", "evaluate", "CompareDocument", "LegacyDocument"),
    summary="Submit a job and get its id at once",
)
async def submit(request: Request, desk: TheDesk, caller: TheCaller, key: Key = None) -> Accepted:
    """Takes every form of contract. The job is durable when this has answered."""
    job = await desk.take(request, caller, key)
    status = (await desk.job(job.job_id, caller)).status if job.repeated else Status.PENDING
    return Accepted.of(job, status)
