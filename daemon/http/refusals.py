"""Every answer that is not what was asked for: one shape, whatever went wrong, and never a stack trace."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from daemon import log
from daemon.errors import BundleError, EvaldError, HarnessError, OperatorError, Problem
from daemon.sentences import sentence

STOPPING = "this server is stopping"
RETRY_AFTER_S = 10.0
_PREFLIGHT = "access-control-request-method"  # a browser asks so on behalf of a page (CORS)
_WORDS: dict[str, str] = {}  # patterns of parameters, and what to say of a value that does not match


class ProblemAnswer(BaseModel):
    """One thing wrong with a request, or probably not meant."""

    field: str = Field(description="Where: `kernel.io.args[2].role`; empty: the whole", examples=["kernel.kernel_typ"])
    message: str
    suggestion: str | None = Field(None, description="What was probably meant", examples=["kernel_type"])

    @classmethod
    def of(cls, problem: Problem) -> ProblemAnswer:
        return cls(field=problem.field, message=problem.message, suggestion=problem.suggestion)


class ErrorAnswer(BaseModel):
    """Why a request was not served."""

    error: str = Field(examples=["there is no job 01a2…"])
    hint: str | None = Field(None, description="What to do about it")
    problems: list[ProblemAnswer] = Field(default_factory=list)
    job_id: str | None = Field(None, description="The job that goes on without this request")


class Refusal(Exception):  # noqa: N818 - an answer, not an error of ours
    """Answer with this status instead. `retry_after_s` becomes the header Retry-After."""

    def __init__(
        self,
        status: int,
        error: str,
        *,
        hint: str | None = None,
        problems: tuple[Problem, ...] = (),
        job_id: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(error)
        self.status = status
        self.answer = ErrorAnswer(
            error=error,
            hint=hint,
            job_id=job_id,
            problems=[ProblemAnswer.of(one) for one in problems],
        )
        self.headers: dict[str, str] = {}
        if retry_after_s is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
        if status == 401:  # noqa: PLR2004 - RFC 9110 wants the scheme named
            self.headers["WWW-Authenticate"] = "Bearer"
        if status == 415:  # noqa: PLR2004 - and what is taken instead
            self.headers |= {"Accept": "application/json", "Accept-Encoding": "identity"}


# What a route may answer beside its own, for the OpenAPI description.
RESPONSES: Mapping[int, str] = {
    400: "The body is no usable contract; `problems` names every field.",
    401: "No token, or one nobody has.",
    403: "This token may not do that; without tokens, the request came through a web page, a proxy or another name.",
    404: "There is no such job.",
    408: "The result did not come in time; the job goes on, and `hint` says where its result will be.",
    409: "The job has ended already.",
    413: "The body is too large.",
    415: "The body is compressed, an archive or a form; it has to be JSON as it is.",
    422: "A parameter or header is malformed, or an idempotency key came with another body.",
    429: "Too many requests, or too many unfinished jobs. Try again after Retry-After seconds.",
    503: "evald is draining, stopping, or waits for storage. Try again after Retry-After seconds.",
}


def responses(*codes: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route: these, and those that the gate and the service give on all routes."""
    wanted = sorted({*codes, 401, 403, 422, 429, 503})
    return {code: {"model": ErrorAnswer, "description": RESPONSES[code]} for code in wanted}


@contextmanager
def parameter(field: str) -> Iterator[None]:
    """Answer 422 with what is wrong with the value of `field`, as the framework does for what it checks itself."""
    try:
        yield
    except OperatorError as error:
        problems = (Problem("", field, error.message),)
        raise Refusal(422, error.message, hint=error.hint, problems=problems) from error


def stopping(hint: str = "send it again", *, job_id: str | None = None) -> Refusal:
    """503 of a server that ends: another one may be there by then."""
    return Refusal(503, STOPPING, hint=hint, job_id=job_id, retry_after_s=RETRY_AFTER_S)


def malformed(error: BundleError) -> Refusal:
    """400 with every problem of a contract."""
    first = error.problems[0]
    count = len(error.problems)
    text = f"{first.field}: {first.message}" if first.field else first.message
    return Refusal(
        400,
        text if count == 1 else f"{count} problems; the first: {text}",
        hint=f"did you mean {first.suggestion!r}?" if first.suggestion else "the schema is at /openapi.json",
        problems=error.problems,
    )


def install(app: FastAPI) -> None:
    """Make every error of `app` one of ours."""
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(EvaldError, _ours)
    app.add_exception_handler(OSError, _disk)
    app.add_exception_handler(Exception, _unexpected)


async def only_known_parameters(request: Request) -> None:
    """Raises `RequestValidationError` for a query parameter that the route does not have, or that comes twice. A
    `dry_run` at the wrong place must not be overlooked, nor one of two."""
    route = request.scope["route"]
    known = request.app.state.parameters.get((request.method, route.path))
    unknown = [name for name in request.query_params if known is not None and name not in known]
    if unknown:
        message = "there is no such parameter" + (f"; there are {', '.join(sorted(known))}" if known else " here")
        raise RequestValidationError([{"loc": ("query", name), "msg": message} for name in unknown])
    given = Counter(name for name, _ in request.query_params.multi_items())
    if repeated := [name for name, count in given.items() if count > 1]:
        raise RequestValidationError([{"loc": ("query", name), "msg": "comes more than once"} for name in repeated])


def _answer(refusal: Refusal) -> JSONResponse:
    return JSONResponse(refusal.answer.model_dump(), refusal.status, headers=refusal.headers)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Refusal)
    return _answer(error)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    """Path, query and headers that are not as described, each once, however many parts of a route ask for it."""
    assert isinstance(error, RequestValidationError)
    found = (Problem("", ".".join(str(step) for step in one["loc"]), _message(one)) for one in error.errors()[:20])
    problems = tuple(dict.fromkeys(found))
    first = problems[0]
    hint = "GET /docs says what every route takes"
    return _answer(Refusal(422, f"{first.field}: {first.message}", hint=hint, problems=problems))


def explained(pattern: str, words: str) -> str:
    """`pattern`, which is told by `words` where something does not match it."""
    _WORDS[pattern] = words
    return pattern


def _message(error: Mapping[str, Any]) -> str:
    kind, context = str(error.get("type")), error.get("ctx", {})
    if kind == "string_pattern_mismatch" and context["pattern"] in _WORDS:
        return _WORDS[context["pattern"]]
    if kind == "enum":
        return f"must be {context['expected']}"
    return sentence(kind, context) or str(error["msg"])


async def _plain(request: Request, error: Exception) -> JSONResponse:
    """What the framework refuses: a path or a method that there is not."""
    assert isinstance(error, HTTPException)
    hint = None
    headers = dict(error.headers or {})
    if error.status_code == 405:  # noqa: PLR2004 - the framework names the methods of one route of several
        headers["Allow"] = ", ".join(request.app.state.methods.of(request.url.path))
        hint = f"{request.url.path} takes {headers['Allow']}; GET /docs shows how"
        if _PREFLIGHT in request.headers:
            hint = "no web page may call evald: let the server that the page comes from do it"
    elif error.status_code == 404:  # noqa: PLR2004
        hint = "GET /docs lists every route"
    answer = _answer(Refusal(error.status_code, str(error.detail), hint=hint))
    answer.headers.update(headers)
    return answer


async def _ours(_request: Request, error: Exception) -> JSONResponse:
    """What the rooms below raise: the caller's mistake, or storage that does not answer."""
    assert isinstance(error, EvaldError)
    if isinstance(error, BundleError):
        return _answer(malformed(error))
    if isinstance(error, OperatorError):
        return _answer(Refusal(422, error.message, hint=error.hint))
    if isinstance(error, HarnessError):
        log.story("cannot serve a request", level=30, reason=error)
        return _waits_for_storage()
    return _answer(Refusal(503, error.message, retry_after_s=1))


async def _disk(_request: Request, error: Exception) -> JSONResponse:
    """A disk that is full, read-only or gone."""
    log.story("cannot serve a request", level=30, reason=error)
    return _waits_for_storage()


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    """A fault of ours. It is logged whole and told to nobody else."""
    log.LOGGER.error("fault while serving %s", request.url.path, exc_info=error)
    return _answer(Refusal(500, "evald has a fault here; its log says more"))


def _waits_for_storage() -> JSONResponse:
    return _answer(Refusal(503, "evald waits for its storage", hint="evald doctor says more", retry_after_s=5))
