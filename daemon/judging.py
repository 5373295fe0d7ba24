"""One job's way: claimed from the inbox, registered, leased, judged, staged, published, put away.

Theory of operation: every step is durable before the next begins and can be done again after a kill. The order is
rename into work/ -> job row -> lease -> private copy -> judge -> result staged in the outbox -> one database
transaction that only the holder of the current fence can win -> result released -> bundle archived. `reconcile`
finishes whatever a kill interrupted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from daemon import failpoints, fsio, log, results
from daemon.config import Settings
from daemon.contract import CompareRequest, KernelTypeSpec, ParsedContract
from daemon.db.records import Description, Lease, NewJob, Published
from daemon.db.repository import Repository
from daemon.engine import Engine, JobSpec, Progress
from daemon.errors import BundleError, HarnessError, LostClaim
from daemon.evaluation import Evaluation
from daemon.intake.copying import private_copy
from daemon.intake.glance import priority_of
from daemon.intake.owner import WorkName
from daemon.intake.reading import read_bundle
from daemon.intake.spool import Claimed, Spool
from daemon.lifecycle import JobState
from daemon.verdict import Verdict


@dataclass(frozen=True)
class Finished:
    """What is told to people when a job ends."""

    job_id: str
    name: str
    evaluation: Evaluation


@dataclass(frozen=True)
class Deferred:
    """What is told to people when a job goes back to the queue because no device of this host can ever serve it."""

    job_id: str
    name: str
    reason: str


class Desk:
    """Does everything to a bundle that is not the judging itself. Safe to use from several threads, one job each."""

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        repository: Repository,
        engine: Engine,
        types: Mapping[str, KernelTypeSpec],
    ) -> None:
        self._settings = settings
        self._paths = settings.paths
        self._spool = spool
        self._repository = repository
        self._engine = engine
        self._types = types

    # -- in -----------------------------------------------------------------------------------------------------

    def take_in(self, name: str) -> Claimed:
        """Claim `inbox/NAME` and queue it. Raises `LostClaim` when somebody else has it."""
        failpoints.hit("claim.begin")
        claimed = self._spool.claim(name)
        failpoints.hit("claim.renamed")
        self.register(claimed)
        failpoints.hit("claim.registered")
        log.story("claimed", job=claimed.job_id, name=claimed.name)
        return claimed

    def register(self, claimed: Claimed) -> bool:
        """Queue a claimed bundle. Idempotent."""
        return self._repository.register(_new_job(claimed))

    def refuse(self, name: str, reason: str) -> Finished | None:
        """Claim `inbox/NAME` and finish it unjudged (torn for too long): quarantined with its reason and a result.

        None when it has no attempt left: `reconcile` gives it up. Raises `LostClaim` when somebody else has it. What a
        kill interrupts here is judged like any other bundle, and rejected by whoever reads it.
        """
        claimed = self._spool.claim(name)
        lease = self._repository.register_leased(_new_job(claimed), self._spool.owner.tag, self._settings.lease_s)
        if lease is None:
            return None
        evaluation = results.rejected(reason)
        self._publish(lease, evaluation, None)
        self._spool.quarantine(claimed, reason)
        log.story("refused", job=lease.job_id, name=lease.name, reason=reason)
        return Finished(lease.job_id, lease.name, evaluation)

    # -- judge --------------------------------------------------------------------------------------------------

    def judge(self, lease: Lease, on_progress: Callable[[Progress], None]) -> Finished | Deferred | None:
        """Judge one leased job to its end, or leave it to another host. None: the lease was lost, or evald failed and
        the job is tried again.

        Raises `HarnessError` when the database cannot be told: the result is then in the outbox.
        """
        try:
            outcome = self._evaluate(lease, on_progress)
        except LostClaim as error:  # also how a stop ends it: the reason tells which
            log.story("let go", job=lease.job_id, name=lease.name, reason=error)
            return None
        except HarnessError as error:
            return self._after_fault(lease, error)
        except OSError as error:
            return self._after_fault(lease, HarnessError(f"this host's disk: {error}"))
        finally:
            fsio.remove_tree(self._copy_of(lease))
        if isinstance(outcome, Deferred):
            return outcome
        try:
            return self._finish(lease, *outcome)
        except LostClaim as error:
            log.story("lost", level=30, job=lease.job_id, name=lease.name, reason=error)
            return None

    def _evaluate(
        self, lease: Lease, on_progress: Callable[[Progress], None]
    ) -> tuple[Evaluation, ParsedContract | None] | Deferred:
        failpoints.hit("lease.taken")
        claimed = self._claimed(lease)
        folder = self._copy_of(lease)
        fsio.remove_tree(folder)
        try:
            bundle = private_copy(claimed.path, folder, self._settings.limits)
            parsed = read_bundle(bundle.dir, self._types, self._settings.limits)
        except BundleError as error:
            return results.rejected(error.message), None
        failpoints.hit("copy.done")
        self._repository.describe(lease.job_id, description(parsed))
        name = parsed.request.name or lease.name
        if (reason := self._engine.refusal(parsed.request.requires)) is not None:
            return self._defer(lease, name, reason)
        self._repository.start(lease)
        failpoints.hit("run.started")
        log.story("running", job=lease.job_id, name=name, attempt=lease.attempt)
        job = JobSpec(lease.job_id, name, bundle.dir, parsed.request.requires)
        return self._engine.evaluate(job, on_progress), parsed

    def _defer(self, lease: Lease, name: str, reason: str) -> Deferred:
        """Back to the queue, for a daemon that can serve it."""
        self._repository.defer(lease, reason)
        failpoints.hit("run.deferred")
        log.story("waits for another host", job=lease.job_id, name=name, reason=reason)
        return Deferred(lease.job_id, name, reason)

    def _copy_of(self, lease: Lease) -> Path:
        """The private copy's folder. The fence is in its name: a thawed daemon removes only what was its own."""
        return self._paths.jobs / f"{lease.job_id}.{lease.fence}"

    def _claimed(self, lease: Lease) -> Claimed:
        """The bundle of a lease. Raises `HarnessError` when it is not where the database says."""
        if lease.work_name is not None and WorkName.parse(lease.work_name) is not None:
            for claimed in self._spool.held():
                if claimed.job_id == lease.job_id:
                    return claimed
        raise HarnessError(f"the bundle of job {lease.job_id} is not in {self._paths.work} (any more)")

    def _after_fault(self, lease: Lease, error: HarnessError) -> Finished | None:
        """Our fault: try again, or give up after the last attempt with a result that says so."""
        state = self._repository.retry(lease, str(error))
        log.story("harness fault", level=40, job=lease.job_id, name=lease.name, attempt=lease.attempt, reason=error)
        if state is not JobState.BROKEN:
            return None
        return self.give_up(lease.job_id, lease.name, lease.fence, str(error), lease.submitter_uid)

    def give_up(self, job_id: str, name: str, fence: int, reason: str, submitter_uid: int | None = None) -> Finished:
        """The end of a job that evald could not judge: quarantined, with a `harness_error` result. Idempotent."""
        evaluation = results.broken(f"evald could not judge this bundle: {reason}")
        now = datetime.now(UTC)
        result = results.document(results.Subject(job_id, name), evaluation, now)
        self._repository.attach_result(job_id, result)
        results.release(self._paths, self._stage(result, evaluation, fence, submitter_uid), now, name)
        for claimed in self._spool.held():
            if claimed.job_id == job_id:
                with suppress(LostClaim):
                    self._spool.quarantine(claimed, reason)
        return Finished(job_id, name, evaluation)

    # -- out ----------------------------------------------------------------------------------------------------

    def _finish(self, lease: Lease, evaluation: Evaluation, parsed: ParsedContract | None) -> Finished:
        failpoints.hit("run.evaluated")
        name = (parsed.request.name if parsed else None) or lease.name
        self._publish(lease, evaluation, parsed)
        self.put_away(lease.job_id, evaluation.verdict, evaluation.message or "")
        log.story("finished", job=lease.job_id, name=name, verdict=evaluation.verdict, reason=_first_line(evaluation))
        return Finished(lease.job_id, name, evaluation)

    def _stage(
        self, result: Mapping[str, object], evaluation: Evaluation, fence: int, submitter_uid: int | None
    ) -> results.Staged:
        readers = results.Readers(self._settings.results_for == "everybody", submitter_uid)
        return results.stage(self._paths, result, evaluation, fence, readers)

    def _publish(self, lease: Lease, evaluation: Evaluation, parsed: ParsedContract | None) -> None:
        """Stage, tell the database, release. Raises `LostClaim` when this lease no longer counts."""
        now = datetime.now(UTC)
        queue_ms = max((lease.claimed_at - lease.dropped_at).total_seconds() * 1e3, 0.0)
        subject = _subject(lease, parsed, queue_ms)
        result = results.document(subject, evaluation, now)
        try:
            waiting = self._stage(result, evaluation, lease.fence, lease.submitter_uid)
        except OSError as error:
            raise HarnessError(f"cannot write the result of job {lease.job_id}: {error}") from error
        failpoints.hit("result.staged")
        try:
            self._repository.publish(lease, Published(evaluation, result, queue_ms))
        except LostClaim:
            results.discard(waiting)
            raise
        failpoints.hit("result.published")
        results.release(self._paths, waiting, now, subject.name)
        failpoints.hit("result.released")

    def put_away(self, job_id: str, verdict: Verdict, message: str) -> None:
        """Move a judged bundle out of `work/`: archived, or set aside with its reason when it was rejected."""
        for claimed in self._spool.held():
            if claimed.job_id != job_id:
                continue
            with suppress(LostClaim):  # another daemon, repairing, was faster
                if verdict is Verdict.REJECTED:
                    self._spool.reject(claimed, message)
                else:
                    self._spool.archive(claimed)
            failpoints.hit("bundle.archived")

    # -- back ---------------------------------------------------------------------------------------------------

    def give_back(self, claimed: Claimed, *, keep_id: bool = False) -> str | None:
        """Put an unfinished bundle back into the inbox, with `keep_id` under a name that says its job. None when its
        job is finished or somebody else's now.
        """
        try:
            self._repository.withdraw(claimed.job_id)
        except LostClaim:
            return None
        failpoints.hit("give_back.withdrawn")
        name = self._spool.give_back(claimed, keep_id=keep_id)
        failpoints.hit("give_back.renamed")
        log.story("given back", job=claimed.job_id, name=name)
        return name


def _new_job(claimed: Claimed) -> NewJob:
    return NewJob(
        job_id=claimed.job_id,
        name=claimed.name,
        work_name=claimed.path.name,
        submitter_uid=claimed.submitter_uid,
        dropped_at=claimed.dropped_at,
        size_bytes=claimed.size_bytes or 0,
        priority=priority_of(claimed.path),
    )


def description(parsed: ParsedContract) -> Description:
    """What the database keeps of a contract."""
    request = parsed.request
    compare = isinstance(request, CompareRequest)
    requires = request.requires
    return Description(
        kind=request.kind,
        kernel_type=request.candidate.kernel_type,
        ref_kernel_type=request.reference.kernel_type if compare and request.reference else None,
        name=request.name,
        problem=request.problem,
        labels=request.labels,
        priority=request.priority,
        source_sha256=parsed.source_sha256,
        contract_sha256=parsed.contract_sha256,
        contract_json=request.model_dump_json(exclude_none=True),
        requires_gpu=requires.gpu.lower() if requires and requires.gpu else None,
    )


def _subject(lease: Lease, parsed: ParsedContract | None, queue_ms: float) -> results.Subject:
    if parsed is None:
        return results.Subject(lease.job_id, lease.name, queue_ms=queue_ms)
    request = parsed.request
    return results.Subject(
        job_id=lease.job_id,
        name=request.name or lease.name,
        problem=request.problem,
        labels=request.labels,
        source_sha256=parsed.source_sha256,
        contract_sha256=parsed.contract_sha256,
        queue_ms=queue_ms,
    )


def _first_line(evaluation: Evaluation) -> str | None:
    return evaluation.message.splitlines()[0][:200] if evaluation.message else None


def process_is_alive(pid: int) -> bool:
    """Whether a process of this host runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
