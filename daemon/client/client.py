"""Talking to `evald serve`.

Theory of operation: every submission carries an idempotency key, so it may be sent again after any fault without making
a second job. What is worth another try (no connection, 429, 503, a proxy's 502 and 504) is tried again, for as long as
the caller waits.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Unpack
from urllib.parse import urlsplit

import httpx

from daemon.client import contracts
from daemon.client.answers import ClientError, Job, Result, document_in, in_a_line, refusal_in, retry_after_s
from daemon.client.connections import Connections
from daemon.client.contracts import Contract, Fields
from daemon.client.patience import Tries, unreachable

DEFAULT_URL = "http://127.0.0.1:8720"
_AGAIN = (429, 502, 503, 504)  # 502 and 504: a proxy, whose evald is being restarted
_ANSWER_S = 30.0


class Client:
    """One server. Use it as a context manager, or `close` it. Safe to share between threads, and with other processes,
    forked ones and those that get a copy by pickle.

    `url` and `token` default to the environment variables EVALD_URL and EVALD_TOKEN. `patience_s`: how long a server
    that cannot be reached, is busy or drains is tried again.
    """

    def __init__(self, url: str | None = None, token: str | None = None, *, patience_s: float = 60.0) -> None:
        self.url = _url(url or os.environ.get("EVALD_URL") or DEFAULT_URL)
        self._token = (token or os.environ.get("EVALD_TOKEN") or "").strip()
        headers = {"Authorization": f"Bearer {_printable('token', self._token)}"} if self._token else {}
        self._connections = Connections(self.url, headers, _ANSWER_S)
        self._patience_s = patience_s

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy in another process has connections of its own."""
        return functools.partial(Client, patience_s=self._patience_s), (self.url, self._token)

    def close(self) -> None:
        """Drop the connections."""
        self._connections.close()

    @property
    def _http(self) -> httpx.Client:
        return self._connections.of_this_process()

    # -- judging ------------------------------------------------------------------------------------------------

    def evaluate(self, kernel: Contract | str, *, wait_s: float | None = None, **fields: Unpack[Fields]) -> Result:
        """Judge one kernel and wait for the result. Raises `ClientError`, also when it takes longer than `wait_s`."""
        return self.wait(self.submit(contracts.evaluate(kernel, **fields)).job_id, wait_s)

    def compare(
        self,
        reference: Contract | str,
        candidate: Contract | str,
        *,
        wait_s: float | None = None,
        **fields: Unpack[Fields],
    ) -> Result:
        """Judge a kernel against a reference and wait for the result. Raises `ClientError` as `evaluate`."""
        return self.wait(self.submit(contracts.compare(reference, candidate, **fields)).job_id, wait_s)

    def submit(self, contract: Mapping[str, Any], *, key: str | None = None) -> Job:
        """Make a job of a contract; its id is durable when this returns. The same `key` is the same job. Warns
        (`UserWarning`) of a key of the contract that was probably misspelt.

        Raises `ClientError`, with `problems` for a contract that cannot be used.
        """
        key = uuid.uuid4().hex if key is None else key  # an empty one is refused by the server
        headers = {"Idempotency-Key": _printable("key", key), "Content-Type": "application/json"}
        if not isinstance(contract, Mapping):
            raise ClientError(
                f"a contract is a mapping, not {type(contract).__name__}",
                hint="Client.compare and Client.evaluate take sources",
            )
        try:
            body = json.dumps(dict(contract), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ClientError(f"the contract is no JSON: {error}") from error
        job = Job.of(self._ask("POST", "/jobs", content=body, headers=headers))
        for one in job.warnings:
            if one.get("suggestion") is not None:
                warnings.warn(f"contract: {in_a_line(one)}", stacklevel=2)
        return job

    def wait(self, job_id: str, timeout_s: float | None = None) -> Result:
        """The result of a job, when it has one. Raises `ClientError` when it has none after `timeout_s`."""
        for event, data in self.events(job_id, timeout_s):
            if event == "result":
                return Result(data)
        raise ClientError(f"job {job_id} has no result after {timeout_s:g} s", job_id=job_id, hint="it goes on")

    def events(self, job_id: str, timeout_s: float | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
        """What happens to a job, as ("progress", …) and at last ("result", document). Ends after `timeout_s`.

        A connection that breaks, or a server that is restarted, is waited out for as long as `patience_s` says.
        """
        until_s = math.inf if timeout_s is None else time.monotonic() + timeout_s
        tries = Tries(self._patience_s, until_s)
        while time.monotonic() < until_s:
            try:
                for event, data in self._stream(job_id, until_s):
                    if event in ("progress", "result"):
                        tries.worked()
                        yield event, data
                    if event == "result":
                        return
                if time.monotonic() < until_s:
                    tries.again(ClientError("the server ended the stream", job_id=job_id))
            except httpx.TransportError as error:
                if time.monotonic() < until_s:
                    tries.again(unreachable(self.url, error))
            except ClientError as error:
                if (result := self._without_stream(job_id, error, tries)) is not None:
                    yield "result", result
                    return

    def _without_stream(self, job_id: str, refusal: ClientError, tries: Tries) -> dict[str, Any] | None:
        """The result document, if it is there; else None after a while. It is asked for by requests that do not wait:
        more callers may wait than the server lets wait, and for longer than the patience with a server that does not
        answer."""
        if refusal.status not in _AGAIN:
            raise refusal
        with suppress(httpx.TransportError):
            answer = self._http.get(f"/jobs/{job_id}")
            if answer.is_success:
                tries.heard()
                if (result := document_in(answer.text).get("result")) is not None:
                    return dict(result)
        tries.again(refusal)
        return None

    def _stream(self, job_id: str, until_s: float) -> Iterator[tuple[str, dict[str, Any]]]:
        """The events of one connection, until `until_s`: the server says something at least every 15 s."""
        event = ""
        silence_s = max(min(until_s - time.monotonic(), _ANSWER_S), 0.001)
        with self._http.stream("GET", f"/jobs/{job_id}/events", timeout=silence_s) as answer:
            if answer.status_code != httpx.codes.OK:
                answer.read()
                raise refusal_in(answer)
            for line in answer.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    event = value
                elif name == "data":
                    yield event, document_in(value)
                if time.monotonic() > until_s:
                    return

    # -- asking -------------------------------------------------------------------------------------------------

    def job(self, job_id: str) -> Job:
        """How far a job is."""
        return Job.of(self._ask("GET", f"/jobs/{job_id}"))

    def result(self, job_id: str) -> Result:
        """The result of a job. Raises `ClientError` 404 while it has none."""
        return Result(self._ask("GET", f"/jobs/{job_id}/result"))

    def jobs(
        self,
        *,
        state: str | None = None,
        verdict: str | None = None,
        name: str | None = None,
        problem: str | None = None,
        label: str | None = None,
        since: str | None = None,
        limit: int = 50,
    ) -> list[Job]:
        """The newest jobs that match. `label`: KEY=VALUE; `since`: 12h, 7d or a date."""
        wanted = {
            "state": state, "verdict": verdict, "name": name, "problem": problem, "label": label, "since": since,
        }  # fmt: skip
        found: list[Job] = []
        query = {key: value for key, value in wanted.items() if value is not None}
        while len(found) < limit:
            page = self._ask("GET", "/jobs", params={**query, "limit": str(min(limit - len(found), 500))})
            found += [Job.of(job) for job in page["jobs"]]
            if page["cursor"] is None:
                break
            query["cursor"] = page["cursor"]
        return found

    def cancel(self, job_id: str) -> None:
        """End a job that nobody wants any more. Raises `ClientError` 409 when it had ended."""
        try:
            self._ask("DELETE", f"/jobs/{job_id}")
        except ClientError as error:
            # Sent again because the answer was lost: the first request may have ended the job.
            if error.status != httpx.codes.CONFLICT or not error.tries or not self._was_cancelled(job_id):
                raise

    def cancel_labelled(self, label: str, *, dry_run: bool = False) -> list[str]:
        """End every unfinished job that has this label, KEY=VALUE; for an admin also others' jobs. Returns their ids,
        but for those ended by a request whose answer was lost. With `dry_run` nothing ends.

        Raises `ClientError` where some that are left change hands for longer than it is patient.
        """
        ended: list[str] = []
        tries = Tries(self._patience_s)
        while True:
            query = {"label": label, "dry_run": str(dry_run).lower()}
            answer = self._ask("DELETE", "/jobs", params=query)
            ended += [job["job_id"] for job in answer["cancelled"] if job["job_id"] is not None]
            if not answer["more"]:
                return ended
            if answer["cancelled"]:
                tries.worked()
                continue
            told = f"{len(ended)} jobs with the label {label} are cancelled, and others change hands"
            tries.again(ClientError(told, hint="ask again"))

    def _was_cancelled(self, job_id: str) -> bool:
        return str(self.job(job_id).document.get("message")).startswith("cancelled by ")

    def stats(self, window: str = "1h") -> dict[str, Any]:
        """What the service did in the last `window`."""
        return self._ask("GET", "/stats", params={"window": window})

    def health(self) -> dict[str, Any]:
        """Whether bundles are being judged: `status` is healthy, draining or unhealthy. A server that cannot be reached
        is tried again for `patience_s`, as always. An answer is returned, whatever it says."""
        tries = Tries(self._patience_s)
        while True:
            try:
                answer = self._http.get("/health")
            except httpx.TransportError as error:
                tries.again(unreachable(self.url, error))
                continue
            with suppress(ClientError):  # a proxy's page, which is told of below
                if "status" in (told := document_in(answer.text)):
                    return told
            refusal = refusal_in(answer)
            if answer.status_code not in _AGAIN:
                raise refusal
            tries.again(refusal, retry_after_s(answer))

    # -- the wire -----------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        tries = Tries(self._patience_s)
        while True:
            try:
                answer = self._http.request(method, path, **request)
            except httpx.TransportError as error:
                tries.again(unreachable(self.url, error))
                continue
            if answer.is_success:
                return document_in(answer.text)
            refusal = refusal_in(answer)
            if answer.status_code not in _AGAIN:
                refusal.tries = tries.count
                raise refusal
            tries.again(refusal, retry_after_s(answer))


def _url(given: str) -> str:
    parsed = urlsplit(given)
    if parsed.scheme not in ("http", "https") or not parsed.hostname:
        raise ClientError(f"{given!r} is no address of a server", hint=f"for example {DEFAULT_URL}")
    return given.rstrip("/")


def _printable(what: str, value: str) -> str:
    """`value`, if it can stand in a header. It may be a secret, so no message repeats it."""
    if not re.fullmatch(r"[\x21-\x7e]{1,255}", value):
        raise ClientError(f"the {what} holds what no header can", hint="1 to 255 letters, digits and signs of ASCII")
    return value
