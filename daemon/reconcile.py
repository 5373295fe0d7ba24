"""The only code that compares disk, database and results, and repairs what a kill left half done.

Runs at start and every so often. Each repair is one idempotent step, so any number of daemons may reconcile at once and
be killed at any point. What cannot be mended is complained about, and keeps nobody else from being mended. What it
looks at, in this order:

1. outbox: results the database has not acknowledged are told to it again, or dropped when their lease no longer counts;
2. leases: of dead daemons on this host at once, of any daemon when they have run out (but for the moment after this
   host has slept, in which those beside this one tell that they live); and those that this daemon was granted by a
   database whose answer it never heard;
3. work/: bundles without a job are queued; those of finished jobs are put away, those of broken jobs quarantined;
4. broken jobs without a result, whose bundle has vanished, get one;
5. private copies of jobs nobody is judging are removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from daemon import failpoints, fsio, log, onemount, results
from daemon.claims import is_its_own
from daemon.db.errors import StorageUnavailable
from daemon.db.history import History
from daemon.db.records import JobRecord, Lease, Published, Whereabouts
from daemon.db.repository import Repository
from daemon.errors import LostClaim
from daemon.holders import Holders
from daemon.intake import names
from daemon.intake.spool import Claimed, Spool
from daemon.judging import Clerk
from daemon.lifecycle import UNFINISHED, JobState
from daemon.paths import Paths
from daemon.publishing import is_in_hand
from daemon.verdict import Verdict

_A_NAP_S = 1.0  # the two clocks are not read in one moment
_Entry = TypeVar("_Entry")


@dataclass
class Repairs:
    """What was found and mended, for the log and for tests."""

    published: int = 0
    released: int = 0
    discarded: int = 0
    requeued: int = 0
    registered: int = 0
    put_away: int = 0
    given_up: int = 0
    copies_removed: int = 0

    @property
    def total(self) -> int:
        return sum(vars(self).values())


class Reconciler:
    """Repairs one home. `clerk` does the moves; nothing here decides a verdict."""

    def __init__(
        self,
        paths: Paths,
        spool: Spool,
        repository: Repository,
        history: History,
        clerk: Clerk,
        is_busy: Callable[[str], bool],
        meanwhile: Callable[[], None],
    ) -> None:
        """`is_busy(job_id)`: whether this very process is judging or publishing that job now. `meanwhile` is called
        before each entry that is looked at: there may be a hundred thousand, and what runs goes on."""
        self._paths = paths
        self._spool = spool
        self._repository = repository
        self._history = history
        self._holders = Holders(spool.owner, history)
        self._clerk = clerk
        self._is_at_a_slot = is_busy
        self._meanwhile = meanwhile
        self._left: list[str] = []  # what could not be mended this time
        self._inherited: set[Lease] | None = None  # until the first look at leases
        self._unheard: set[Lease] = set()
        self._slept_s = _slept_s()
        self._complaint = log.Complaint()

    def run(self) -> Repairs:
        """One pass. Raises `HarnessError` or `OSError` when database or folders cannot be reached; nothing is lost
        then."""
        failpoints.hit("reconcile.begin")
        repairs = Repairs()
        self._left.clear()
        self._replay_outbox(repairs)
        failpoints.hit("reconcile.replayed")
        held = list(self._each(self._spool.held()))
        self._take_back_leases(held, repairs)
        for claimed in self._each(self._unsettled(held)):
            with self._by_itself(claimed.path):
                self._settle(claimed, repairs)
        failpoints.hit("reconcile.settled")
        self._give_up_vanished({claimed.job_id for claimed in held}, repairs)
        self._remove_copies(repairs)
        if repairs.total:
            found = {name: count for name, count in vars(repairs).items() if count}
            log.story("reconciled", **found)
        if self._left:
            more = f"; and {len(self._left) - 1} more" if len(self._left) > 1 else ""
            self._complaint.say(f"cannot mend {self._left[0]}{more}")
        return repairs

    def _is_busy(self, job_id: str) -> bool:
        """Whether this very process judges or ends that job now."""
        return self._is_at_a_slot(job_id) or is_in_hand(job_id)

    def _each(self, entries: Iterable[_Entry]) -> Iterator[_Entry]:
        for entry in entries:
            self._meanwhile()
            yield entry

    @contextmanager
    def _by_itself(self, place: Path) -> Iterator[None]:
        """One repair of what is at `place`. Another daemon may have been faster, and an error of this repair does not
        keep others from being made. Only a database that does not answer ends them all."""
        try:
            yield
        except LostClaim:
            return
        except StorageUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a strange file brings about
            if not onemount.is_gone(place):
                log.LOGGER.debug("cannot mend %s", place, exc_info=True)
                self._left.append(f"{place}: {type(error).__name__}: {error}")

    # -- results ------------------------------------------------------------------------------------------------

    def _replay_outbox(self, repairs: Repairs) -> None:
        for waiting in self._each(results.staged(self._paths)):
            if not self._is_busy(waiting.job_id):
                with self._by_itself(waiting.folder):
                    self._replay_one(waiting, repairs)

        for torn in self._each(results.half_staged(self._paths)):
            job = self._job(torn.job_id)
            in_use = job is not None and job.fence == torn.fence and self._may_be_staging(torn, job)
            if not in_use and not self._is_busy(torn.job_id):
                with self._by_itself(torn.folder):
                    results.discard(torn)
                    repairs.discarded += 1

    def _may_be_staging(self, torn: results.Staged, job: JobRecord) -> bool:
        """Whether somebody else may be writing this. What was left by somebody who gave the job up is removed once
        another has published it."""
        is_given_up = job.state is JobState.BROKEN and job.document is None and results.is_draft(torn)
        return is_given_up or self._holders.publishes_elsewhere(job)

    def _replay_one(self, waiting: results.Staged, repairs: Repairs) -> None:
        job = self._job(waiting.job_id)
        if job is not None and job.fence == waiting.fence:
            self._replay(waiting, job, repairs)
        elif job is None or not self._holders.publishes_elsewhere(job):
            results.discard(waiting)
            repairs.discarded += 1

    def _job(self, job_id: str) -> JobRecord | None:
        """The job of a folder that is named after it. What somebody else has put there belongs to no job."""
        return self._history.job(job_id) if names.JOB_ID.fullmatch(job_id) else None

    def _replay(self, waiting: results.Staged, job: JobRecord, repairs: Repairs) -> None:
        if job.state in (JobState.CLAIMED, JobState.RUNNING):
            if self._holders.is_left_to_others(job):
                return
            try:
                document = waiting.document()
                published = Published(waiting.evaluation(), document, document.get("queue_ms"))
                self._repository.publish(_lease_of(job), published)
                repairs.published += 1
            except LostClaim:
                results.discard(waiting)
                repairs.discarded += 1
                return
        elif not job.state.final:
            results.discard(waiting)
            repairs.discarded += 1
            return
        document = waiting.document()
        finished_at = datetime.fromisoformat(document["finished_at"])
        results.release(self._paths, waiting, finished_at, str(document["name"]), job.submitter_uid)
        repairs.released += 1

    # -- leases -------------------------------------------------------------------------------------------------

    def _take_back_leases(self, held: Sequence[Claimed], repairs: Repairs) -> None:
        here = self._spool.owner
        for owner in {claimed.owner for claimed in held if claimed.owner != here}:
            if not owner.may_live(here):
                repairs.requeued += len(self._repository.abandon(owner.tag))
        repairs.requeued += self._put_back_unheard()
        if not self._has_slept():
            repairs.requeued += len(self._repository.expire())
        self._repository.break_exhausted()  # `_settle` gives them up

    def _has_slept(self) -> bool:
        """Whether this host has since the pass before: daemons on it have not had the time to extend leases that ran
        out meanwhile, and by the next pass have."""
        before_s, self._slept_s = self._slept_s, _slept_s()
        return self._slept_s - before_s > _A_NAP_S

    def _put_back_unheard(self) -> int:
        """Give up leases of this daemon that none of its slots knows of: nothing was begun, and the attempt does not
        count. Each must have been there at the pass before, because a slot may be just about to begin.

        Two kinds are left alone: leases that were there at the first pass, because an earlier daemon may have had the
        same name (pid 1 of a container), and have died of what it judged; and jobs that already have a result.
        """
        held = self._history.held_by(self._spool.owner.tag)
        idle = {lease for lease in held if lease.state is JobState.CLAIMED and not self._is_busy(lease.job_id)}
        self._inherited = idle if self._inherited is None else self._inherited
        told = {waiting.job_id for waiting in results.staged(self._paths)} if idle else set()
        unheard = {lease for lease in idle - self._inherited if lease.job_id not in told}
        back = unheard & self._unheard
        for lease in back:
            with suppress(LostClaim):
                self._repository.put_back(lease, "nobody has heard the database's answer to its lease")
        self._unheard = unheard
        return len(back)

    # -- bundles ------------------------------------------------------------------------------------------------

    def _unsettled(self, held: Sequence[Claimed]) -> list[Claimed]:
        """Those about which there may be something to do. One query asks for many: a hundred thousand may wait for a
        host with the right device."""
        known = self._history.whereabouts({claimed.job_id for claimed in held})
        return [claimed for claimed in held if not _is_on_its_way(claimed, known.get(claimed.job_id))]

    def _settle(self, claimed: Claimed, repairs: Repairs) -> None:
        job = self._history.job(claimed.job_id)
        # A listing may be half a minute old on NFS. Whose job it is, is certain only of an entry that has lain here.
        is_certain = self._holders.is_late(claimed) or self._holders.is_ours(claimed)
        if job is None:
            if is_certain:
                self._register(claimed, repairs)
        elif is_certain and self._clerk.publisher.claims.as_its_own(claimed) is not claimed:
            repairs.registered += 1
        elif job.state is JobState.WITHDRAWN:
            # Who withdrew it is giving the bundle back, unless he died.
            if self._holders.is_ours(claimed) and not self._holders.may_be_given_back(job):
                self._register(claimed, repairs)
        elif job.state.final and (not is_certain or self._is_busy(job.job_id)):
            return  # being ended (asked after the job was read); or another with its id is just being claimed
        elif job.state is JobState.FINISHED:
            verdict = job.verdict or Verdict.REJECTED
            self._clerk.publisher.put_away(job.job_id, job.work_name, verdict, job.message or "")
            repairs.put_away += 1
        elif job.state is JobState.BROKEN:
            self._clerk.publisher.give_up(job, _why_broken(job))
            repairs.put_away += 1

    def _give_up_vanished(self, held: Collection[str], repairs: Repairs) -> None:
        """Give up jobs whose bundle somebody has taken away: whoever waits for a job waits for its result."""
        for job_id in self._each(self._history.without_result()):
            job = None if job_id in held or self._is_busy(job_id) else self._history.job(job_id)
            if job is not None:
                with self._by_itself(self._paths.results):
                    self._clerk.publisher.give_up(job, _why_broken(job))
                    repairs.given_up += 1

    def _register(self, claimed: Claimed, repairs: Repairs) -> None:
        """Queue a bundle, unless somebody moves it back into the inbox in the same moment."""
        repairs.registered += self._clerk.register(claimed)
        if not onemount.is_there(claimed.path) and not any(True for _ in self._spool.held_for(claimed.job_id)):
            self._repository.withdraw(claimed.job_id)
            repairs.registered -= 1

    def _remove_copies(self, repairs: Repairs) -> None:
        for folder in self._each(self._paths.jobs.iterdir()):
            job_id, fence, *_ = [*folder.name.strip(".").split("."), ""]
            job = self._job(job_id)
            held = job is not None and job.state in (JobState.CLAIMED, JobState.RUNNING)
            if self._is_busy(job_id) or (job is not None and held and fence == str(job.fence)):
                continue
            with self._by_itself(folder):
                fsio.remove_tree(folder)
                repairs.copies_removed += 1


def _slept_s() -> float:
    """For how long this host has, since it booted."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _why_broken(job: JobRecord) -> str:
    return job.message or "every attempt ended with its daemon's death"


def _is_on_its_way(claimed: Claimed, known: Whereabouts | None) -> bool:
    if known is None or known.state not in UNFINISHED:
        return False
    return is_its_own(claimed, known.work_name)


def _lease_of(job: JobRecord) -> Lease:
    """The lease that a dead daemon held, to publish in its name. The fence decides whether it still counts."""
    now = datetime.now(UTC)
    return Lease(
        job_id=job.job_id,
        fence=job.fence,
        attempt=job.attempts,
        owner=job.lease_owner or "",
        lease_until=job.lease_until or now,
        state=job.state,
        name=job.name,
        work_name=job.work_name,
        priority=job.priority,
        dropped_at=job.dropped_at,
        claimed_at=job.claimed_at or now,
    )
