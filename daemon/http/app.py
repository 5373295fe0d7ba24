"""The application: routes, errors, and the description of both."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from daemon.config import Settings
from daemon.contract import KernelTypeSpec, contract_schema
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.repository import Repository
from daemon.executor import catalog
from daemon.http import refusals, routes_jobs, routes_judging, routes_service
from daemon.http.answers import CleanupOrder
from daemon.http.attendance import Attendance
from daemon.http.desk import Desk
from daemon.http.door import Door
from daemon.http.gate import Gate
from daemon.http.meters import Meters
from daemon.http.methods import HeadAsGet, Methods, SlashAtTheEnd, WholeUrl
from daemon.http.page import page_of
from daemon.http.submission import Submission
from daemon.http.tokens import Tokens
from daemon.http.watch import Watch
from daemon.intake.owner import Owner
from daemon.intake.spool import Spool
from daemon.publishing import Publisher
from daemon.versions import evald_version

_ABOUT = """\
Judges GPU kernels: a contract goes in, a result that can be trusted comes out.

`POST /evaluate` and `POST /compare` wait for the result; `POST /jobs` answers at once with a job id. Every error has
the same shape: `error`, `hint`, and `problems` for the fields of a body.
"""


_PARSED_AT_ONCE = 2
_FIRST_ERROR = 400


def make_app(settings: Settings, database: Database) -> FastAPI:
    """The application over an open database. It judges nothing: a daemon of the same inbox does."""
    types = catalog.contract_types(catalog.load(settings.backend_paths))
    desk = _desk(settings, database, types)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with desk.watch.running(), desk.attendance.running():
            yield

    app = FastAPI(
        title="evald",
        version=evald_version(),
        description=_ABOUT,
        lifespan=lifespan,
        openapi_url=None,  # ours is made once, and knows the schema of contracts
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.desk = desk
    for router in (routes_judging.router, routes_jobs.router, routes_service.router):
        app.include_router(router, dependencies=[Depends(refusals.only_known_parameters)])
    refusals.install(app)
    app.add_middleware(Door, free=frozenset(("/health",)))
    app.add_middleware(HeadAsGet)
    app.add_middleware(SlashAtTheEnd)
    app.add_middleware(WholeUrl)
    app.add_middleware(_Metered, meters=desk.meters)
    _describe(app, types)
    return app


def _desk(settings: Settings, database: Database, types: Mapping[str, KernelTypeSpec]) -> Desk:
    history = History(database)
    repository = Repository(database, max_attempts=settings.max_attempts)
    spool = Spool(settings.paths, Owner.current())
    watch = Watch(history, settings.http.streams, settings.http.streams_per_token)
    attendance = Attendance(settings, history)
    return Desk(
        settings=settings,
        database=database,
        history=history,
        spool=spool,
        publisher=Publisher(settings, spool, repository, history),
        gate=Gate(settings.http, Tokens.of(settings), settings.http.host),
        submission=Submission(settings, spool, history, types),
        watch=watch,
        attendance=attendance,
        meters=Meters(history, lambda: watch.count, lambda: attendance.seen.daemons),
        parsing=anyio.CapacityLimiter(_PARSED_AT_ONCE),
    )


def _describe(app: FastAPI, types: Mapping[str, KernelTypeSpec]) -> None:
    """OpenAPI, with the contract's own schema for bodies: routes read them as bytes, so FastAPI does not know it."""
    described = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    text = json.dumps(contract_schema(types)["$defs"]).replace("#/$defs/", "#/components/schemas/")
    schemas = described["components"]["schemas"]
    schemas.update(json.loads(text))
    schemas["CleanupOrder"] = CleanupOrder.model_json_schema()
    _correct(described)
    app.state.description = json.dumps(described).encode()
    app.state.parameters = {
        (method.upper(), path): {one["name"] for one in route.get("parameters", ()) if one["in"] == "query"}
        for path, routes in described["paths"].items()
        for method, route in routes.items()
    }
    app.state.methods = Methods(app.state.parameters)
    app.state.page = page_of(described)


def _correct(described: dict[str, Any]) -> None:
    """Mend what FastAPI says of routes that do not answer in JSON. Their errors are JSON all the same, and the items of
    a stream (`itemSchema`) are not a word of the OpenAPI version that this document names."""
    for operation in (one for methods in described["paths"].values() for one in methods.values()):
        for code, answer in operation["responses"].items():
            content = answer.get("content", {})
            if int(code) >= _FIRST_ERROR and content:
                answer["content"] = {"application/json": next(iter(content.values()))}
            elif (stream := content.get("text/event-stream")) is not None:
                stream.pop("itemSchema", None)
                stream["schema"] = {"type": "string"}


class _Metered:
    """Counts every request and how long it took. Plain ASGI, so that streams pass through as they come."""

    def __init__(self, app: ASGIApp, meters: Meters) -> None:
        self._app = app
        self._meters = meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started_s = time.monotonic()
        code = 500

        async def noting(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._meters.count(method, route, code, time.monotonic() - started_s)


_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
