"""How a job's end reaches people: the result staged, told to the database, released, and the bundle put away.

Every end comes through here: of what was judged, what was refused at the door, what its sender no longer wants, and
what evald could not judge. None of it needs an engine, so a process that is no daemon may end a job as well: the fence
of the lease decides who does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from daemon import failpoints, log, result_document, results
from daemon.claims import Claims, new_job, together
from daemon.config import Settings
from daemon.contract import ParsedContract
from daemon.db.errors import StorageUnavailable
from daemon.db.history import History
from daemon.db.records import ContractFacts, JobRecord, Lease, Published
from daemon.db.repository import Repository
from daemon.errors import HarnessError, LostClaim, NotKept
from daemon.evaluation import Evaluation
from daemon.intake.spool import Spool
from daemon.verdict import Verdict

_PAUSE_S = 0.05
_ASKED_AGAIN_S = (0.2, 1.0)
_IN_HAND: set[tuple[str, int]] = set()  # jobs and fences that threads of this process end, beside its slots


@dataclass(frozen=True)
class Finished:
    """What is told to people when a job ends."""

    job_id: str
    name: str
    evaluation: Evaluation


@dataclass(frozen=True)
class _Prepared:
    """An end that is staged, and not yet told to the database. `name`: the name its result is shown under."""

    lease: Lease
    published: Published
    waiting: results.Staged
    finished_at: datetime
    name: str


class Publisher:
    """Ends jobs of one home. Safe to use from several threads, one job each."""

    def __init__(self, settings: Settings, spool: Spool, repository: Repository, history: History) -> None:
        self.claims = Claims(settings, spool, repository, history)
        self._settings = settings
        self._paths = settings.paths
        self._spool = spool
        self._repository = repository
        self._history = history

    def refuse(self, name: str, reason: str, *, came_later: bool = False) -> Finished | None:
        """Claim `inbox/NAME` and finish it unjudged (torn for too long): quarantined with its reason and a result.

        None when it has no attempt left: `reconcile` gives it up. Raises `LostClaim` when somebody else has it. If a
        kill interrupts this, the bundle is judged like any other, and rejected when it is read.
        """
        claimed = self.claims.claim(name, came_later=came_later)
        lease = self._repository.register_leased(new_job(claimed), self._spool.owner.tag, self._settings.lease_s)
        if lease is None:
            return None
        evaluation = Evaluation.rejected(reason)
        self.publish(lease, evaluation, None)
        self._spool.quarantine(claimed, reason)
        log.story("refused", job=lease.job_id, name=lease.name, reason=reason)
        return Finished(lease.job_id, lease.name, evaluation)

    def cancel(self, job_id: str, by: str) -> Finished | None:
        """End a job that its sender no longer wants, wherever it is: its verdict is `rejected`, its reason says why.

        Whoever is judging it loses the lease, and finds out at the next heartbeat. None: nobody knows the job, or it
        has ended already.
        """
        evaluation = Evaluation.rejected(f"cancelled by {by}")
        while (lease := self.claims.lease_to_end(job_id)) is not None:
            with _in_hand([lease]):
                if self.judged_before(lease) is not None:
                    return None
                if ended := self._end_together([lease], evaluation, by):
                    return ended[0]
            time.sleep(random.uniform(0, _PAUSE_S))  # noqa: S311 - no secret; somebody else is cancelling it too
        return None

    def cancel_many(self, job_ids: Collection[str], entries: Mapping[str, str | None], by: str) -> list[Finished]:
        """Cancel many: `entries` of the inbox, each with the job id that its sender chose, and then `job_ids` that the
        database knows. Returns those that it has ended. Raises as `cancel`.

        Each goes through the same steps as with `cancel`, but all of them together: one transaction serves many, and
        the disk is waited for by several at once. So a kill leaves a number of jobs where it would leave one. What is
        not simple (an id that had another job before) is cancelled alone.
        """
        known = self._history.whereabouts([job_id for job_id in entries.values() if job_id is not None])
        simple = [name for name, job_id in entries.items() if job_id is None or self.claims.is_new(job_id, known)]
        claimed = self.claims.claimed_together(simple)
        failpoints.hit("claim.renamed")
        try:
            jobs = [new_job(one) for one in claimed]
            leases = self._repository.seize_many(jobs, job_ids, self._spool.owner.tag, self._settings.lease_s)
        except HarnessError as error:  # did it happen, and only its answer was lost?
            self.claims.give_back(claimed, keep_ids=isinstance(error, StorageUnavailable))
            raise
        failpoints.hit("lease.taken")
        bare = [lease for lease in leases if not self.claims.has_result(lease.job_id)]
        with _in_hand(leases):
            ended = self._end_together(bare, Evaluation.rejected(f"cancelled by {by}"), by)
        wanted = {*job_ids, *(job_id for job_id in entries.values() if job_id is not None)}
        for job_id in sorted(wanted - {finished.job_id for finished in ended}):
            with suppress(LostClaim):
                ended += [finished] if (finished := self.cancel(job_id, by)) is not None else []
        return ended

    def _end_together(self, leases: Iterable[Lease], evaluation: Evaluation, by: str) -> list[Finished]:
        """End these jobs, and return those that were still ours to end. Raises `HarnessError` when one cannot be
        written; the others have ended then."""
        facts = self._history.contracts_of([lease.job_id for lease in leases])
        now = datetime.now(UTC)

        def stage(lease: Lease) -> _Prepared:
            return self._prepared(lease, self._subject(lease, facts=facts.get(lease.job_id)), evaluation, now)

        def release(one: _Prepared) -> Finished:
            self._release(one)
            self.put_away_or_leave(one.lease, evaluation)
            log.story("cancelled", job=one.lease.job_id, name=one.lease.name, by=by)
            return Finished(one.lease.job_id, one.lease.name, evaluation)

        prepared, not_staged = together(stage, leases)
        failpoints.hit("result.staged")
        counts = self._counted(prepared)
        failpoints.hit("result.published")
        for one in prepared:
            if one.lease.job_id not in counts:
                results.discard(one.waiting)
        ended, not_released = together(release, [one for one in prepared if one.lease.job_id in counts])
        if (fault := not_staged or not_released) is not None:
            raise fault
        return ended

    def _counted(self, prepared: Sequence[_Prepared]) -> set[str]:
        """Tell the database, again if its answer is lost: otherwise nobody could say which of them it has ended.
        Returns those whose lease counted. Raises `HarnessError` if it does not answer."""
        ends = [(one.lease, one.published) for one in prepared]
        for pause_s in _ASKED_AGAIN_S:
            try:
                return self._repository.publish_many(ends)
            except StorageUnavailable:
                time.sleep(pause_s)
        return self._repository.publish_many(ends)

    def judged_before(self, lease: Lease) -> Finished | None:
        """End a job as its visible result says, because the database has forgotten that end: it was restored from a
        copy, or its server has lost what it wrote last.

        None where there is no result, or the job is somebody else's. Raises `HarnessError` when the database does not
        answer.
        """
        for folder in self.claims.results_of(lease.job_id):
            try:
                document, evaluation = results.evaluation_of(folder)
            except (OSError, ValueError, LookupError, TypeError) as error:
                log.story("a result cannot be read", level=30, job=lease.job_id, folder=folder, reason=error)
                continue
            with suppress(LostClaim):
                self._repository.publish(lease, Published(evaluation, document, document.get("queue_ms")))
                self.put_away_or_leave(lease, evaluation)
                log.story("judged before", job=lease.job_id, name=lease.name, verdict=evaluation.verdict)
                return Finished(lease.job_id, lease.name, evaluation)
        return None

    def give_up(self, job: Lease | JobRecord, reason: str) -> Finished:
        """End a job that evald could not judge: quarantined, with a `harness_error` result. Idempotent. Several may do
        it at the same moment: a slot, and daemons that repair.

        Its result is on disk before the database has it, as everywhere. Once the database has it, nobody looks again
        whether it is visible, if the bundle has vanished.
        """
        job_id, name = job.job_id, job.name
        evaluation = Evaluation.broken(f"evald could not judge this bundle: {reason}")
        fence = job.fence + isinstance(job, Lease)  # the job was broken since that lease, and `reconcile` compares
        readers = self._readers(job.submitter_uid)
        result, waiting = self._first_told(job, evaluation, fence, readers)
        failpoints.hit("result.staged")
        told = self._repository.attach_result(job_id, result)
        failpoints.hit("result.published")
        if waiting is not None:
            if told != result:  # an attempt before, which was interrupted: theirs
                waiting = results.stage(self._paths, told, evaluation, fence, readers)
            finished_at = datetime.fromisoformat(told["finished_at"])
            results.release(self._paths, waiting, finished_at, name, job.submitter_uid)
        for claimed in self.claims.own(job_id, job.work_name):
            with suppress(LostClaim):
                self._spool.quarantine(claimed, reason)
        return Finished(job_id, name, evaluation)

    def _first_told(
        self, job: Lease | JobRecord, evaluation: Evaluation, fence: int, readers: results.Readers
    ) -> tuple[dict[str, Any], results.Staged | None]:
        """The result of whoever came first for such a job: the one that is visible already, or else the one that is
        staged; ours if nobody else has staged one."""
        if (shown := self._shown_document(job.job_id)) is not None:
            return shown, None
        result = result_document.compose(self._subject(job), evaluation, datetime.now(UTC))
        try:
            waiting = results.stage_first(self._paths, result, evaluation, fence, readers)
            return waiting.document(), waiting
        except ValueError:  # a disk gives back what nobody has written
            return result, results.stage(self._paths, result, evaluation, fence, readers)
        except OSError:  # another was quicker, who has released his and removed ours
            if (shown := self._shown_document(job.job_id)) is None:
                raise
            return shown, None

    def _shown_document(self, job_id: str) -> dict[str, Any] | None:
        """The visible result of a job, if there is one that can be read."""
        for folder in self.claims.results_of(job_id):
            with suppress(OSError, ValueError):
                return results.document_of(folder)
        return None

    def _readers(self, submitter_uid: int | None) -> results.Readers:
        return results.Readers(self._settings.results_for == "everybody", submitter_uid)

    def publish(self, lease: Lease, evaluation: Evaluation, parsed: ParsedContract | None) -> None:
        """Stage, tell the database, release. Raises `LostClaim` when this lease no longer counts, `NotKept` when the
        result cannot be staged."""
        prepared = self._prepared(lease, self._subject(lease, parsed), evaluation, datetime.now(UTC))
        failpoints.hit("result.staged")
        try:
            self._repository.publish(lease, prepared.published)
        except LostClaim:
            results.discard(prepared.waiting)
            raise
        failpoints.hit("result.published")
        self._release(prepared)

    def _prepared(
        self, lease: Lease, subject: result_document.Subject, evaluation: Evaluation, now: datetime
    ) -> _Prepared:
        """With its result on disk. Raises `NotKept`."""
        queue_ms = max((lease.claimed_at - lease.dropped_at).total_seconds() * 1e3, 0.0) + (evaluation.waited_ms or 0.0)
        result = result_document.compose(replace(subject, queue_ms=queue_ms), evaluation, now)
        try:
            waiting = results.stage(self._paths, result, evaluation, lease.fence, self._readers(lease.submitter_uid))
        except OSError as error:
            raise NotKept(f"cannot write the result of job {lease.job_id}: {error}") from error
        return _Prepared(lease, Published(evaluation, result, queue_ms), waiting, now, subject.name)

    def _release(self, prepared: _Prepared) -> None:
        lease = prepared.lease
        try:
            results.release(self._paths, prepared.waiting, prepared.finished_at, prepared.name, lease.submitter_uid)
        except OSError as error:  # it counts already, and stays in the outbox until `reconcile` can release it
            log.story("cannot release a result yet", level=30, job=lease.job_id, reason=error)
        failpoints.hit("result.released")

    def _subject(
        self, job: Lease | JobRecord, parsed: ParsedContract | None = None, facts: ContractFacts | None = None
    ) -> result_document.Subject:
        """What the result is about, from its contract: as `parsed` now, or the `facts` of an earlier attempt."""
        if parsed is None:
            facts = facts or self._history.contract_of(job.job_id)
            return result_document.Subject(job.job_id, job.name, **vars(facts))
        request = parsed.request
        return result_document.Subject(
            job_id=job.job_id,
            name=request.name or job.name,
            problem=request.problem,
            labels=request.labels,
            source_sha256=parsed.source_sha256,
            contract_sha256=parsed.contract_sha256,
        )

    def put_away_or_leave(self, lease: Lease, evaluation: Evaluation) -> None:
        """`put_away`; if that fails, the bundle is left to `reconcile`. Its result counts. A sender who has closed a
        folder so that nobody may move it must not hold up others."""
        try:
            self.put_away(lease.job_id, lease.work_name, evaluation.verdict, evaluation.message or "")
        except HarnessError as error:
            log.story("cannot put a bundle away yet", level=30, job=lease.job_id, reason=error)

    def put_away(self, job_id: str, work_name: str | None, verdict: Verdict, message: str) -> None:
        """Move a judged bundle out of `work/`: archived, or set aside with its reason when it was rejected."""
        for claimed in self.claims.own(job_id, work_name):
            with suppress(LostClaim):  # another daemon, repairing, was faster
                if verdict is Verdict.REJECTED:
                    self._spool.reject(claimed, message)
                else:
                    self._spool.archive(claimed)
            failpoints.hit("bundle.archived")


def is_in_hand(job_id: str) -> bool:
    """Whether a thread of this process that is not a slot of its daemon ends that job just now. Then a result that
    looks half written is not what a kill left behind."""
    return any(one == job_id for one, _ in tuple(_IN_HAND))


@contextmanager
def _in_hand(leases: Iterable[Lease]) -> Iterator[None]:
    held = {(lease.job_id, lease.fence) for lease in leases}
    _IN_HAND.update(held)
    try:
        yield
    finally:
        _IN_HAND.difference_update(held)
