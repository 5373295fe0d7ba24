"""From the body of a request to a bundle in the inbox, once.

Theory of operation: a job's id ends in the tag of its caller. With an idempotency key, the rest of the id is computed
from token and key. So the same request names the same job on every server, and nobody else can name it first, although
whoever may drop bundles chooses ids.

A small file per key is locked while the bundle is dropped. It keeps the servers of one state folder from dropping the
bundle twice, and remembers the hash of the body. Servers of different hosts see each other's jobs, but not at the very
same moment: send a key again to the server that had it.

Where a job is, is looked for in the order in which bundles move: inbox, work, database. A bundle goes back only when
its row is in the database already.
"""

from __future__ import annotations

import fcntl
import hmac
import os
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from daemon import fsio, log
from daemon.callers import TAG_DIGITS
from daemon.config import Settings
from daemon.contract import CompareRequest, KernelTypeSpec, ParsedContract, parse_contract
from daemon.db.history import History
from daemon.errors import BundleError, HarnessError, LostClaim, OperatorError, Problem
from daemon.http.refusals import Refusal
from daemon.http.tokens import Caller
from daemon.intake import names
from daemon.intake.spool import Spool
from daemon.intake.submit import sender_in, submit_document

KEY_LIMIT_CHARS = 255
_NAMING_DIGITS = 16  # of an id: as many as say when it was made
_SECRET_BYTES = 32
_KEYS_KEPT_S = 14 * 86_400
_KEY_WAIT_S = 5.0
_KEY_PAUSE_S = 0.01
_FORGET_EVERY_S = 3600.0
_DIGEST = re.compile(rb"[0-9a-f]{64}")
_COUNT_AGAIN_S = 1.0
_COUNT_AGAIN_AT_LIMIT_S = 0.2


@dataclass(frozen=True)
class Submitted:
    """A job that a request made, or had made before (`repeated`). `name`: what it is called once it runs."""

    job_id: str
    name: str
    timeout_s: float
    repeated: bool = False
    warnings: tuple[Problem, ...] = ()


class Submission:
    """Drops the bodies of requests into the inbox. Blocking; safe to use from several threads."""

    def __init__(self, settings: Settings, spool: Spool, history: History, types: Mapping[str, KernelTypeSpec]) -> None:
        self._settings = settings
        self._spool = spool
        self._history = history
        self._types = types
        self._quota = _Quota(settings, spool, history)
        self._keys = Keys(settings.paths.state / "http-keys")

    def check(self, document: bytes, *kinds: str) -> ParsedContract:
        """The contract in a body, of one of `kinds` where the route takes only some. Raises `BundleError`."""
        parsed = parse_contract(document, {}, types=self._types, limits=self._settings.limits, contract_file="body")
        compare = isinstance(parsed.request, CompareRequest)
        if kinds and ("compare" if compare else "evaluate") not in kinds:
            right, what = ("/compare", "a comparison of two kernels") if compare else ("/evaluate", "one kernel alone")
            raise BundleError([Problem("body", "", f"is {what}: that is for POST {right}; POST /jobs takes both")])
        return parsed

    def drop(self, document: bytes, parsed: ParsedContract, caller: Caller, key: str | None) -> Submitted:
        """Make a job of a checked body. Raises `Refusal` 422 for a key that came with another body, 429, 503."""
        job_id = (names.make_job_id() if key is None else self._keys.named(caller, key))[:-TAG_DIGITS] + caller.tag
        unnamed = f"http-{job_id[:_NAMING_DIGITS]}"
        name = parsed.request.name or unnamed
        called, timeout_s = parsed.request.name or f"{unnamed}.json", float(parsed.request.timeout)
        job = Submitted(job_id, called, timeout_s, warnings=parsed.warnings)
        if key is None:
            self._put(document, name, job_id, caller)
            return job
        with self._keys.held(job_id, parsed.contract_sha256):
            if self.knows(job_id):
                self._require_own(job_id)
                self._require_body(job_id, parsed.contract_sha256)
                return replace(job, repeated=True)
            self._put(document, name, job_id, caller)
        return job

    def knows(self, job_id: str) -> bool:
        """Whether a job of this id waits in the inbox, is claimed, or is in the database."""
        return self._spool.has(job_id) or self._history.job(job_id) is not None

    def _require_own(self, job_id: str) -> None:
        """Raise `Refusal` 422 where the only bundle of this id is still on its way to become a job, and somebody else
        has dropped it: then the id will name that job."""
        if self._history.job(job_id) is not None:
            return
        uids = [self._submitter_of(entry) for entry in self._spool.waiting_for(job_id)]
        uids += [claimed.submitter_uid for claimed in self._spool.held_for(job_id)]
        if uids and self._quota.own_uid not in uids and None not in uids and self._history.job(job_id) is None:
            raise Refusal(
                422, "somebody else has dropped a bundle under this key's job id", hint="use a fresh key", job_id=job_id
            )

    def _submitter_of(self, entry: str) -> int | None:
        try:
            return self._spool.submitter_of(entry)
        except (LostClaim, HarnessError):
            return None

    def _require_body(self, job_id: str, body_sha256: str) -> None:
        """Raise `Refusal` 422 where this job came from another body: one that was sent with its key to another host, or
        one that somebody dropped who had seen the id, after the job that had it was cleaned up."""
        record = self._history.job(job_id)
        if record is not None and record.contract_sha256 not in (None, body_sha256):
            raise _came_with_another_body(job_id)

    def name_on_the_way(self, job_id: str) -> str | None:
        """The name that a bundle of this id was dropped under. None: there is none in the inbox, and none is
        claimed."""
        for entry in self._spool.waiting_for(job_id):
            return names.readable(names.bundle_name(entry))
        return next((claimed.name for claimed in self._spool.held_for(job_id)), None)

    def _put(self, document: bytes, name: str, job_id: str, caller: Caller) -> None:
        try:
            with self._quota.one_more(caller):
                submit_document(document, name, self._settings.paths.inbox, job_id)
        except OperatorError as error:
            log.story("cannot take a job", level=30, reason=error)
            raise Refusal(503, "the inbox cannot be written", hint="evald doctor says more", retry_after_s=5) from error
        log.story("submitted", job=job_id, name=names.readable(name), by=caller.name)


class Keys:
    """Idempotency keys that were used on this host: for each job id, the hash of its body."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._forgotten_s = 0.0

    def named(self, caller: Caller, key: str) -> str:
        """32 hex digits that are computed from key and token; without tokens, from key and a secret of this state
        folder."""
        secret = caller.secret.encode() or _secret_in(self._folder.with_name("http-secret"))
        return hmac.digest(secret, f"{caller.name}\0{key}".encode(), "sha256").hex()[:32]

    @contextmanager
    def held(self, job_id: str, body_sha256: str) -> Iterator[None]:
        """Keep the key from everybody else on this host during the block. When the block ends well, the key belongs to
        this body.

        Raises `Refusal` 422 when it came with another body, 503 when somebody else holds it for too long.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        self._forget_now_and_then()
        descriptor = self._locked(job_id)
        try:
            known = os.read(descriptor, 100)
            if _DIGEST.fullmatch(known) and known != body_sha256.encode("ascii"):
                raise _came_with_another_body(job_id)
            try:
                yield
            except BaseException:
                if not known:  # a request that was refused leaves nothing behind
                    (self._folder / job_id).unlink(missing_ok=True)
                raise
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, body_sha256.encode("ascii"), 0)
        finally:
            os.close(descriptor)

    def _locked(self, job_id: str) -> int:
        """The key's file, locked, and still the one of that name."""
        deadline_s = time.monotonic() + _KEY_WAIT_S
        while True:
            descriptor = os.open(self._folder / job_id, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(descriptor).st_nlink:
                    return descriptor
            except BlockingIOError:
                time.sleep(_KEY_PAUSE_S)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
            if time.monotonic() > deadline_s:
                raise Refusal(503, "another request holds this key", hint="send it again", retry_after_s=1)

    def _forget_now_and_then(self) -> None:
        if time.time() - self._forgotten_s > _FORGET_EVERY_S:
            self._forgotten_s = time.time()
            self.forget()

    def forget(self, now_s: float | None = None) -> int:
        """Drop keys that nobody used for a fortnight; how many."""
        before_s = (time.time() if now_s is None else now_s) - _KEYS_KEPT_S
        return sum(self._forget_one(path, before_s) for path in self._folder.iterdir())

    @staticmethod
    def _forget_one(path: Path, before_s: float) -> bool:
        """Forget a key if it is old enough, and return whether it was. A key that is in use, or that somebody else
        forgets at this moment, is left alone."""
        try:
            if path.stat().st_mtime >= before_s:
                return False
            with path.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                status = os.fstat(stream.fileno())
                if status.st_mtime >= before_s or not status.st_nlink:
                    return False
                path.unlink()
        except (FileNotFoundError, BlockingIOError):
            return False
        return True


def _came_with_another_body(job_id: str) -> Refusal:
    return Refusal(422, "this idempotency key came with another body before", hint="use a fresh key", job_id=job_id)


def _secret_in(path: Path) -> bytes:
    """What the file holds; random bytes, made by whoever is the first to ask."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        secret = os.read(descriptor, _SECRET_BYTES)
        if len(secret) < _SECRET_BYTES:  # new, or what a power cut left
            secret = secrets.token_bytes(_SECRET_BYTES)
            os.pwrite(descriptor, secret, 0)
            os.fsync(descriptor)
            fsio.fsync_dir(path.parent)  # with another secret the same key would be another job
        return secret
    finally:
        os.close(descriptor)


class _Quota:
    """How many unfinished jobs each caller has. They are counted about once a second; in between, those that we add are
    added up. While we add one nothing is counted, because it may not be there yet.

    What others have dropped under ids that end in a caller's tag, which is no secret, does not count.
    """

    def __init__(self, settings: Settings, spool: Spool, history: History) -> None:
        self._limit = settings.http.jobs_per_token
        self._inbox = settings.paths.inbox
        self._spool = spool
        self._history = history
        self._lock = threading.Lock()
        self._counts: dict[str, tuple[float, int]] = {}
        self._on_their_way: Counter[str] = Counter()

    @contextmanager
    def one_more(self, caller: Caller) -> Iterator[None]:
        """Count a job of this caller that the block drops. Raises `Refusal` 429 when there are too many, and
        `OperatorError` as `submit` does."""
        self._add(caller)
        try:
            yield
        finally:
            with self._lock:
                self._on_their_way[caller.tag] -= 1
                self._on_their_way = +self._on_their_way

    def _add(self, caller: Caller) -> None:
        with self._lock:
            at_s, count = self._counts.get(caller.tag, (0.0, 0))
            now_s = time.monotonic()
            is_old = now_s - at_s > (_COUNT_AGAIN_S if count < self._limit else _COUNT_AGAIN_AT_LIMIT_S)
            if is_old and not self._on_their_way[caller.tag]:
                at_s = now_s
                count = len(self._unfinished(caller))
            if count >= self._limit:
                raise Refusal(
                    429,
                    f"{caller.name} has {count} unfinished jobs, {self._limit} are allowed",
                    hint="wait for some; the setting http.jobs_per_token says how many",
                    retry_after_s=5,
                )
            self._counts[caller.tag] = (at_s, count + 1)
            self._on_their_way[caller.tag] += 1

    def _unfinished(self, caller: Caller) -> set[str]:
        """The ids of this caller's jobs, looked for in the order in which bundles move. A job that has ended may have
        its bundle in `work/` for a moment still."""
        on_their_way = set(self._spool.ids_ending_in(caller.tag, self.own_uid))
        unfinished = self._history.unfinished_ending_in(caller.tag, self.own_uid)
        known = self._history.whereabouts(on_their_way - unfinished)
        return unfinished | {job_id for job_id in on_their_way if job_id not in known or not known[job_id].state.final}

    @cached_property
    def own_uid(self) -> int:
        """Whose the bundles are that this server drops."""
        return sender_in(self._inbox)
