"""One job's way: claimed from the inbox, registered, leased, judged, staged, published, put away.

Theory of operation: every step is durable before the next begins and can be done again after a kill. The order is
rename into work/ -> job row -> lease -> private copy -> judge -> result staged in the outbox -> one database
transaction that only the holder of the current fence can win -> result released -> bundle archived. `reconcile`
finishes whatever a kill interrupted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from daemon import failpoints, fsio, log
from daemon.claims import new_job
from daemon.config import Settings
from daemon.contract import CompareRequest, KernelTypeSpec, ParsedContract
from daemon.db.errors import StorageDamaged, StorageRefused, StorageUnavailable
from daemon.db.history import History
from daemon.db.records import Description, Lease
from daemon.db.repository import Repository
from daemon.disks import Disks
from daemon.engine import Engine, JobSpec, Progress
from daemon.errors import BundleError, HarnessError, LostClaim, NoDevice, NotBegun, NotKept, OutOfReach
from daemon.evaluation import Evaluation
from daemon.intake.copying import CopiedBundle, private_copy
from daemon.intake.owner import WorkName
from daemon.intake.reading import read_bundle
from daemon.intake.spool import Claimed, Spool
from daemon.lifecycle import JobState
from daemon.outage import Patience
from daemon.publishing import Finished, Publisher


@dataclass(frozen=True)
class Deferred:
    """What people are told when a job goes back to the queue because no device of this host can ever serve it."""

    job_id: str
    name: str
    reason: str


class Unended(Enum):
    """Why a job that was begun has no end.

    - `LOST`: its lease is somebody else's, or a stop ended it
    - `RETRIED`: evald failed
    - `NO_DEVICE`: all devices that could judge it are set aside for a while
    - `NO_DATABASE`: it did not answer when the job was to begin, and does now
    - `NO_BUNDLE`: the bundle lies where another host sees it
    """

    LOST = auto()
    RETRIED = auto()
    NO_DEVICE = auto()
    NO_DATABASE = auto()
    NO_BUNDLE = auto()


class Clerk:
    """Does everything to a bundle except the judging. Safe to use from several threads, one job each."""

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        repository: Repository,
        history: History,
        engine: Engine,
        types: Mapping[str, KernelTypeSpec],
    ) -> None:
        self._settings = settings
        self._paths = settings.paths
        self._spool = spool
        self._repository = repository
        self._history = history
        self._engine = engine
        self._types = types
        self._complaint = log.Complaint()
        self._owed: deque[tuple[Lease, str, bool]] = deque()  # ended while the database was away; whether that counts
        self.publisher = Publisher(settings, spool, repository, history)
        self.disks = Disks(settings)
        self.patience = Patience()

    # -- in -----------------------------------------------------------------------------------------------------

    def take_in(self, name: str, *, came_later: bool = False) -> Claimed:
        """Claim `inbox/NAME` and queue it; `came_later`: another entry had its job id before. Raises `LostClaim` when
        somebody else has it."""
        failpoints.hit("claim.begin")
        claimed = self.publisher.claims.claim(name, came_later=came_later)
        failpoints.hit("claim.renamed")
        if not self.register(claimed):
            claimed = self.publisher.claims.as_its_own(claimed, just_now=True)
        failpoints.hit("claim.registered")
        log.story("claimed", job=claimed.job_id, name=claimed.name)
        return claimed

    def register(self, claimed: Claimed) -> bool:
        """Queue a claimed bundle. Idempotent."""
        return self._repository.register(new_job(claimed))

    # -- judge --------------------------------------------------------------------------------------------------

    def judge(self, lease: Lease, on_progress: Callable[[Progress], None]) -> Finished | Deferred | Unended:
        """Judge one leased job to its end, or leave it to another host, or for later.

        Raises `NotBegun` or `NotKept` when this host has no room to judge anything now: the job waits as before. Raises
        `HarnessError` when the database cannot be told: the result is then in the outbox.
        """
        return self.publisher.judged_before(lease) or self._judge(lease, on_progress)

    def _judge(self, lease: Lease, on_progress: Callable[[Progress], None]) -> Finished | Deferred | Unended:
        try:
            outcome = self._evaluate(lease, on_progress)
        except LostClaim as error:  # also how a stop ends it: the reason tells which
            log.story("let go", job=lease.job_id, name=lease.name, reason=error)
            return Unended.LOST
        except HarnessError as error:
            return self._after_fault(lease, error)
        except OSError as error:
            return self._after_fault(lease, HarnessError(f"this host's disk: {error}"))
        finally:
            self._drop_copy(lease)
        if isinstance(outcome, Deferred):
            return outcome
        try:
            return self._finish(lease, *outcome)
        except LostClaim as error:
            log.story("lost", level=30, job=lease.job_id, name=lease.name, reason=error)
            return Unended.LOST

    def _evaluate(
        self, lease: Lease, on_progress: Callable[[Progress], None]
    ) -> tuple[Evaluation, ParsedContract | None] | Deferred:
        failpoints.hit("lease.taken")
        folder = self._copy_of(lease)
        try:
            with _reading():
                bundle = self.patience.with_job(lease.job_id, lambda: self._copied(lease, folder))
                parsed = read_bundle(bundle.dir, self._types, self._settings.limits)
        except BundleError as error:
            return Evaluation.rejected(error.message), None
        failpoints.hit("copy.done")
        described = description(parsed, bundle)
        name = parsed.request.name or lease.name
        if (reason := self._engine.refusal(parsed.request.requires)) is not None:
            return self._defer(lease, name, reason, described)
        self._repository.start(lease, described)
        failpoints.hit("run.started")
        log.story("running", job=lease.job_id, name=name, attempt=lease.attempt)
        kernels = (parsed.request.reference, parsed.request.candidate)
        kernel_types = tuple(kernel.kernel_type for kernel in kernels if kernel is not None)
        job = JobSpec(lease.job_id, name, bundle.dir, parsed.request.requires, kernel_types)
        return self._engine.evaluate(job, on_progress), parsed

    def _copied(self, lease: Lease, folder: Path) -> CopiedBundle:
        return private_copy(self._claimed(lease).path, folder, self._settings.limits)

    def _defer(self, lease: Lease, name: str, reason: str, described: Description) -> Deferred:
        """Back to the queue, for a daemon that can serve it."""
        self._repository.defer(lease, reason, described)
        failpoints.hit("run.deferred")
        log.story("waits for another host", job=lease.job_id, name=name, reason=reason)
        return Deferred(lease.job_id, name, reason)

    def _copy_of(self, lease: Lease) -> Path:
        """The private copy's folder. The fence is in its name, so a daemon that thaws removes only what was its own."""
        return self._paths.jobs / f"{lease.job_id}.{lease.fence}"

    def _drop_copy(self, lease: Lease) -> None:
        """Remove the private copy. If that fails, the result is not lost: `reconcile` tries again."""
        try:
            fsio.remove_tree(self._copy_of(lease))
        except OSError as error:
            self._complaint.say(f"cannot remove {self._copy_of(lease)}: {error}")

    def _claimed(self, lease: Lease) -> Claimed:
        """The bundle of a lease. Raises `HarnessError` when it is not where the database says."""
        entry = WorkName.parse(lease.work_name) if lease.work_name is not None else None
        if entry is not None:
            for claimed in self.publisher.claims.own(lease.job_id, lease.work_name):
                return claimed
        if self._spool.waiting_for(lease.job_id):  # its daemon was giving it back just then
            self._repository.withdraw(lease)
            raise LostClaim(f"the bundle of job {lease.job_id} is in the inbox again")
        if entry is not None and entry.owner != self._spool.owner and self._history.is_there(entry.owner.tag):
            raise OutOfReach(
                f"the bundle of job {lease.job_id} is not in {self._paths.work}: {entry.owner.tag} has claimed it",
                hint="daemons of one database share one inbox: name that one here, or use a database of your own",
            )
        raise HarnessError(f"the bundle of job {lease.job_id} is not in {self._paths.work} (any more)")

    def _after_fault(self, lease: Lease, error: HarnessError) -> Finished | Unended:
        """After a fault of ours: try again, or after the last attempt give up, with a result that says so.

        It is no fault when the job was taken away in the meantime, because its bundle is then gone. A job that could
        not begin, or whose result could not be kept, loses its place and no attempt.
        """
        try:
            if isinstance(error, NoDevice):
                self.put_back(lease, str(error))
                return Unended.NO_DEVICE
            if isinstance(error, OutOfReach):
                self.put_back(lease, str(error))
                self._complaint.say(f"{error.message}; {error.hint}")
                return Unended.NO_BUNDLE
            if isinstance(error, (StorageUnavailable, StorageDamaged)):  # locked for too long, say, and free again
                self.put_back(lease, str(error))
                return Unended.NO_DATABASE
            if isinstance(error, (NotBegun, NotKept)) and self.disks.lack_after_fault() is not None:
                self.put_back(lease, str(error))
                raise error  # whoever takes jobs here pauses for a moment
            state = self._tell(lease, str(error), counts=True)
        except LostClaim:
            log.story("let go", job=lease.job_id, name=lease.name, reason=error)
            return Unended.LOST
        log.story("harness fault", level=40, job=lease.job_id, name=lease.name, attempt=lease.attempt, reason=error)
        if state is not JobState.BROKEN:
            return Unended.RETRIED
        return self.publisher.give_up(lease, str(error))

    def put_back(self, lease: Lease, reason: str) -> None:
        """Put the job back; the attempt does not count. If the database does not answer now, `settle` tells it later.
        Raises `LostClaim`."""
        self._tell(lease, reason, counts=False)

    def _tell(self, lease: Lease, reason: str, *, counts: bool) -> JobState:
        """How an attempt has ended. Answers what that makes of its job."""
        try:
            if counts:
                return self._repository.retry(lease, reason)
            self._repository.put_back(lease, reason)
            return JobState.QUEUED
        except HarnessError:
            self._owed.append((lease, reason, counts))
            raise

    def settle(self) -> None:
        """Tell the database how those attempts have ended that it could not be told of. Raises `HarnessError`.

        That comes before leases are looked at. An attempt whose lease ran out would count although it must not, or have
        no other reason than that. If this makes a job `broken`, `reconcile` gives it up.
        """
        while self._owed:
            with suppress(IndexError, LostClaim):  # another slot tells it, or it is somebody else's by now
                lease, reason, counts = self._owed.popleft()
                self._tell(lease, reason, counts=counts)

    # -- out ----------------------------------------------------------------------------------------------------

    def _finish(self, lease: Lease, evaluation: Evaluation, parsed: ParsedContract | None) -> Finished | Unended:
        failpoints.hit("run.evaluated")
        name = (parsed.request.name if parsed else None) or lease.name
        try:
            self.patience.with_job(
                lease.job_id, lambda: self.publisher.publish(lease, evaluation, parsed), after=(NotKept,)
            )
        except NotKept as error:
            return self._after_fault(lease, error)
        self.publisher.put_away_or_leave(lease, evaluation)
        log.story("finished", job=lease.job_id, name=name, verdict=evaluation.verdict, reason=_first_line(evaluation))
        return Finished(lease.job_id, name, evaluation)

    # -- back ---------------------------------------------------------------------------------------------------

    def give_back(self, claimed: Claimed, *, keep_id: bool = False) -> str | None:
        """Put an unfinished bundle back into the inbox, with `keep_id` under a name that has its job id. None when its
        job is finished or somebody else's now."""
        try:
            self._repository.withdraw(claimed.job_id)
        except LostClaim:
            return None
        failpoints.hit("give_back.withdrawn")
        name = self._spool.give_back(claimed, keep_id=keep_id)
        failpoints.hit("give_back.renamed")
        log.story("given back", job=claimed.job_id, name=name)
        return name


@contextmanager
def _reading() -> Iterator[None]:
    """A job whose bundle cannot be read was not begun: no attempt of it counts, as long as the disks refuse others
    too."""
    try:
        yield
    except (NotBegun, StorageUnavailable, StorageRefused):
        raise
    except HarnessError as error:
        raise NotBegun(error.message, hint=error.hint) from error
    except OSError as error:
        raise NotBegun(f"this host's disk: {error}") from error


def description(parsed: ParsedContract, bundle: CopiedBundle) -> Description:
    """What the database keeps of a bundle that was read."""
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
        size_bytes=bundle.total_bytes,
        file_count=len(bundle.files),
    )


def _first_line(evaluation: Evaluation) -> str | None:
    return evaluation.message.splitlines()[0][:200] if evaluation.message else None
