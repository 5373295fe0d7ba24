"""Routes about the service: health, figures, cleanup."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Any

import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse

from daemon import callers, durations, log, retention
from daemon.contract.problems import ProblemLog, read_model
from daemon.errors import BundleError, OperatorError, Problem
from daemon.http.answers import CleanupAnswer, CleanupOrder, HealthAnswer, NotRemoved
from daemon.http.desk import TheCaller, TheDesk
from daemon.http.figures import StatsAnswer
from daemon.http.gate import require
from daemon.http.meters import CONTENT_TYPE
from daemon.http.page import POLICY
from daemon.http.refusals import STOPPING, parameter, responses
from daemon.http.tokens import Role
from daemon.versions import evald_version

router = APIRouter(tags=["service"])
_LONGEST = timedelta(days=31)
_WINDOW_HINT = "write 15m, 24h or 7d: at most 31d"


@router.get(
    "/health",
    response_model=HealthAnswer,
    responses={503: {"model": HealthAnswer, "description": "Nothing is judged now; `reason` says why."}},
    summary="Whether bundles are being judged",
)
async def health(desk: TheDesk) -> Response:
    """Needs no token, asks nobody, and is never late: what it says was seen within the last seconds."""
    seen = desk.attendance.seen
    stopping = desk.watch.is_stopping
    status = "healthy" if seen.is_healthy and not stopping else "draining" if seen.draining or stopping else "unhealthy"
    answer = HealthAnswer(
        status=status,
        version=evald_version(),
        daemons=seen.daemons,
        reason=STOPPING if stopping else seen.reason,
    )
    return JSONResponse(answer.model_dump(), 200 if status == "healthy" else 503)


@router.get("/stats", response_model=StatsAnswer, responses=responses(), summary="What was done lately")
async def stats(
    desk: TheDesk,
    _caller: TheCaller,
    window: Annotated[str, Query(max_length=64, description="15m, 24h, 7d; at most 31d", examples=["24h"])] = "1h",
) -> StatsAnswer:
    """Jobs, durations, throughput, and how busy every daemon was in the last `window`."""
    with parameter("query.window"):
        span = durations.parse_span(window, "window", _WINDOW_HINT)
        if not timedelta(0) < span <= _LONGEST:
            raise OperatorError(f"window {window!r} is not between 1s and 31d", hint=_WINDOW_HINT)

    def look() -> StatsAnswer:
        return StatsAnswer.of(desk.history.activity(span), desk.history.counts_by_state())

    return await anyio.to_thread.run_sync(look)


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    responses=responses(),
    summary="Figures for Prometheus",
)
async def metrics(desk: TheDesk, _caller: TheCaller) -> Response:
    """The text exposition format. The daemons' own figures are in the file that the setting `metrics_file` names."""
    text = await anyio.to_thread.run_sync(desk.meters.exposition)
    return Response(text, media_type=CONTENT_TYPE)


@router.post(
    "/admin/cleanup-jobs",
    response_model=CleanupAnswer,
    responses=responses(400, 413, 415),
    openapi_extra={
        "requestBody": {
            "required": False,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/CleanupOrder"}}},
        }
    },
    summary="Forget jobs that ended long ago",
)
async def cleanup(request: Request, desk: TheDesk, caller: TheCaller) -> CleanupAnswer:
    """As `evald cleanup`: rows, result files and bundles. What waits or is being judged is never touched."""
    require(caller, Role.ADMIN)
    async with desk.gate.body(request) as document:
        order = _order(document)
    with parameter("older_than"):
        age = durations.parse_span(order.older_than, "older_than")

    def clean() -> retention.Removed:
        return retention.clean(
            desk.settings.paths,
            desk.database,
            age,
            order.keep_best,
            dry_run=order.dry_run,
            forgotten=order.forgotten,
            callers=callers.known(desk.settings),
        )

    removed = await anyio.to_thread.run_sync(clean)
    if not order.dry_run:
        log.story("cleaned up", jobs=len(removed.job_ids), by=caller.name)
    return CleanupAnswer(
        removed=len(removed.job_ids),
        job_ids=list(removed.job_ids),
        evaluations=removed.evaluations,
        kept_best=removed.kept_best,
        forgotten=removed.forgotten,
        not_removed=[NotRemoved(**vars(one)) for one in removed.not_removed],
        dry_run=order.dry_run,
    )


def _order(document: bytes) -> CleanupOrder:
    """Raises `BundleError` for what is none, a field that is there twice included."""
    try:
        raw = json.loads(document or b"{}", object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise BundleError([Problem("body", "", f"no JSON of an order: {error}")]) from error
    problems = ProblemLog("body")
    order = read_model(CleanupOrder, raw, "", problems)
    if order is None:
        raise BundleError(problems.problems)
    return order


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field is there twice")
    return found


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> Response:
    """For everybody, as the page is: it says what an evald can do, and nothing of what this one does."""
    return Response(request.app.state.description, media_type="application/json")


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> Response:
    """For everybody: a browser that opens a page cannot send a token."""
    return HTMLResponse(request.app.state.page, headers={"Content-Security-Policy": POLICY})
