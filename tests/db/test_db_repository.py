"""Registering, leasing, publishing, giving back: the same on SQLite and Postgres."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from db_examples import DROPPED, ENVIRONMENT, new_job, passed, passed_case, published, wrong
from sqlalchemy import select, text, update

from daemon.db import repository_leases, repository_rows
from daemon.db.connection import Database
from daemon.db.errors import StorageRefused
from daemon.db.history import History
from daemon.db.models import Bundle, Job, Statistics
from daemon.db.records import AttemptOutcome, Description, Lease
from daemon.db.repository import Repository
from daemon.errors import HarnessError, LostClaim
from daemon.evaluation import Control, RuntimeStats, Timing
from daemon.lifecycle import MOVES, JobState
from daemon.verdict import Phase, Side, Verdict

LEASE_S = 60.0


def leased(repository: Repository, owner: str = "me") -> Lease:
    job = new_job()
    repository.register(job)
    lease = repository.lease(job.job_id, owner, LEASE_S)
    assert lease is not None
    return lease


def let_run_out(database: Database, lease: Lease) -> None:
    """Move the end of the lease into the database's past."""
    with database.write() as connection:
        past = datetime.now(UTC) - timedelta(hours=1)
        connection.execute(update(Job).where(Job.id == lease.job_id).values(lease_until=past))


class TestRegister:
    def test_a_registered_job_waits_in_the_queue(self, repository: Repository, history: History) -> None:
        job = new_job(priority=3)
        assert repository.register(job)
        found = history.job(job.job_id)
        assert found is not None
        assert (found.state, found.priority, found.attempts) == (JobState.QUEUED, 3, 0)
        assert found.dropped_at == DROPPED, "microseconds and the time zone are kept"

    def test_registering_twice_is_one_job(self, repository: Repository, history: History) -> None:
        job = new_job()
        assert repository.register(job)
        assert not repository.register(job)
        assert history.counts_by_state()[JobState.QUEUED] == 1

    def test_one_entry_in_work_belongs_to_one_job(self, repository: Repository) -> None:
        job = new_job()
        repository.register(job)
        with pytest.raises(StorageRefused):
            repository.register(new_job(work_name=job.work_name))

    def test_an_id_that_is_not_32_digits_is_refused(self, repository: Repository) -> None:
        with pytest.raises(StorageRefused):
            repository.register(new_job(job_id="abc"))

    def test_a_withdrawn_job_is_revived_with_its_new_place_in_work(
        self, repository: Repository, history: History
    ) -> None:
        job = new_job()
        repository.register(job)
        assert repository.withdraw(job.job_id)
        assert repository.register(replace(job, work_name="elsewhere"))
        found = history.job(job.job_id)
        assert found is not None
        assert (found.state, found.work_name) == (JobState.QUEUED, "elsewhere")

    def test_a_withdrawn_job_that_another_bundle_revives_is_about_that_one(
        self, repository: Repository, history: History
    ) -> None:
        """Its result is for whoever dropped that bundle, not for the sender of the first."""
        job = new_job(submitter_uid=1000)
        repository.register(job)
        repository.withdraw(job.job_id)
        assert repository.register(replace(job, name="other", submitter_uid=2000, priority=7, work_name="elsewhere"))
        found = history.job(job.job_id)
        assert found is not None
        assert (found.name, found.submitter_uid, found.priority) == ("other", 2000, 7)

    def test_a_finished_job_is_not_revived(self, repository: Repository) -> None:
        job = new_job()
        repository.register(job)
        lease = repository.lease(job.job_id, "me", LEASE_S)
        assert lease is not None
        repository.publish(lease, passed())
        assert not repository.register(job)

    def test_a_description_is_kept(self, repository: Repository, history: History, database: Database) -> None:
        job = new_job()
        repository.register(job)
        description = Description(
            kind="compare",
            kernel_type="triton",
            ref_kernel_type="torch",
            name="softmax",
            problem="softmax-4k",
            labels={"team": "a\0b"},
            priority=7,
            source_sha256="a" * 64,
            size_bytes=12,
            file_count=3,
        )
        assert repository.describe(job.job_id, description)
        with database.read() as connection:
            assert connection.scalar(select(Bundle.file_count).where(Bundle.id == job.job_id)) == 3
        found = history.job(job.job_id)
        assert found is not None
        assert (found.name, found.problem, found.priority, found.kernel_type) == ("softmax", "softmax-4k", 7, "triton")
        assert (found.source_sha256, found.size_bytes) == ("a" * 64, 12)
        assert found.labels == {"team": "a\\x00b"}, "what a database cannot hold is escaped"

    def test_a_finished_job_is_not_described(self, repository: Repository) -> None:
        lease = leased(repository)
        repository.publish(lease, passed())
        assert not repository.describe(lease.job_id, Description(kind="evaluate", kernel_type="torch"))

    def test_hostile_names_are_cut_and_escaped(self, repository: Repository, history: History) -> None:
        job = new_job(name="x\0\ud800" + "y" * 9000, work_name="w")
        repository.register(job)
        found = history.job(job.job_id)
        assert found is not None
        assert len(found.name) == 255
        assert found.name.startswith("x\\x00\\ud800y")


class TestLease:
    def test_the_highest_priority_goes_first_then_the_oldest(self, repository: Repository, database: Database) -> None:
        jobs = [new_job(name, priority=priority) for name, priority in (("a", 0), ("b", 5), ("c", 5), ("d", -1))]
        for seconds, job in enumerate(jobs):
            repository.register(job)
            with database.write() as connection:
                created = DROPPED - timedelta(seconds=seconds)  # the later registered, the older
                connection.execute(update(Job).where(Job.id == job.job_id).values(created_at=created))
        names = []
        while (lease := repository.lease_next("me", LEASE_S)) is not None:
            names.append(lease.name)
        assert names == ["c", "b", "a", "d"]

    def test_jobs_that_arrive_within_a_millisecond_go_in_order(self, repository: Repository) -> None:
        jobs = [new_job() for _ in range(60)]
        for job in jobs:
            repository.register(job)
        leases = [repository.lease_next("me", LEASE_S) for _ in jobs]
        assert [lease and lease.job_id for lease in leases] == [job.job_id for job in jobs]

    def test_a_lease_ends_by_the_database_clock(self, repository: Repository) -> None:
        lease = leased(repository)
        assert (lease.lease_until - lease.claimed_at).total_seconds() == pytest.approx(LEASE_S, abs=0.5)
        assert (lease.fence, lease.attempt, lease.state) == (1, 1, JobState.CLAIMED)

    def test_a_leased_job_is_not_leased_again(self, repository: Repository) -> None:
        lease = leased(repository)
        assert repository.lease(lease.job_id, "other", LEASE_S) is None
        assert repository.lease_next("other", LEASE_S) is None

    def test_an_unknown_job_is_not_leased(self, repository: Repository) -> None:
        assert repository.lease("0" * 32, "me", LEASE_S) is None

    def test_held_by_lists_the_leases_of_one_owner(self, repository: Repository, history: History) -> None:
        mine, other = leased(repository, "me"), leased(repository, "other")
        assert history.held_by("me") == (mine,)
        assert history.held_by("other") == (other,)
        assert history.held_by("nobody") == ()

    def test_held_by_lists_the_oldest_lease_first(self, repository: Repository, history: History) -> None:
        for name in ("f", "0", "8"):
            repository.register(new_job(name, job_id=name * 32))
            assert repository.lease(name * 32, "me", LEASE_S)
        assert [lease.name for lease in history.held_by("me")] == ["f", "0", "8"]


class TestHold:
    @pytest.mark.parametrize("how", ["start", "defer"])
    def test_what_the_contract_says_is_written_with_the_next_step(
        self, repository: Repository, history: History, how: str
    ) -> None:
        lease = leased(repository)
        described = Description("compare", "cuda", "torch", problem="add", requires_gpu="H200")
        for _ in range(2):  # the first answer was lost
            if how == "start":
                repository.start(lease, described)
            else:
                repository.defer(lease, "no such GPU", described)
        job = history.job(lease.job_id)
        assert job is not None
        assert (job.problem, job.kernel_type) == ("add", "cuda")
        assert job.state is (JobState.RUNNING if how == "start" else JobState.QUEUED)

    def test_starting_twice_changes_nothing(self, repository: Repository, history: History) -> None:
        lease = leased(repository)
        repository.start(lease)
        repository.start(lease)
        found = history.job(lease.job_id)
        assert found is not None
        assert found.state is JobState.RUNNING
        assert [event.kind for event in history.events(lease.job_id)] == ["registered", "leased", "started"]

    def test_a_heartbeat_extends_the_lease_and_tells_progress(self, repository: Repository, history: History) -> None:
        lease = leased(repository)
        until = repository.heartbeat(lease, 1000, progress="checking 3/5")
        assert until > lease.lease_until
        found = history.job(lease.job_id)
        assert found is not None
        assert (found.progress, found.lease_until) == ("checking 3/5", until)

    @pytest.mark.parametrize("action", ["start", "heartbeat", "publish", "retry", "defer", "withdraw"])
    def test_an_older_fence_changes_nothing(
        self, repository: Repository, database: Database, history: History, action: str
    ) -> None:
        stale = leased(repository)
        let_run_out(database, stale)
        repository.expire()
        current = repository.lease(stale.job_id, "next", LEASE_S)
        assert current is not None
        before = history.job(stale.job_id)
        attempts = {
            "start": lambda: repository.start(stale),
            "heartbeat": lambda: repository.heartbeat(stale, LEASE_S),
            "publish": lambda: repository.publish(stale, passed()),
            "retry": lambda: repository.retry(stale, "why"),
            "defer": lambda: repository.defer(stale, "why"),
            "withdraw": lambda: repository.withdraw(stale),
        }
        with pytest.raises(LostClaim):
            attempts[action]()
        assert history.job(stale.job_id) == before
        assert history.evaluations(stale.job_id) == ()
        assert repository.publish(current, passed()), "the current lease is not disturbed"

    def test_a_fence_that_a_server_gave_away_twice_keeps_no_lease_of_the_daemon_that_had_it_first(
        self, repository: Repository
    ) -> None:
        """One that has lost what it wrote last: a standby that was promoted, say."""
        current = leased(repository)
        with pytest.raises(LostClaim):
            repository.heartbeat(replace(current, owner="before"), LEASE_S)
        assert repository.heartbeat(current, LEASE_S)


class TestPublish:
    def test_everything_is_kept(self, repository: Repository, history: History) -> None:
        lease = leased(repository)
        repository.start(lease)
        told = passed(mean_ms=0.125, speedup=4.0)
        [case] = told.evaluation.cases
        strange = case.model_copy(update={"build": {**case.build, "broken": float("nan")}})
        evaluation = told.evaluation.model_copy(update={"cases": (strange,)})
        assert repository.publish(lease, replace(told, evaluation=evaluation))
        job = history.job(lease.job_id)
        assert job is not None
        assert (job.state, job.verdict, job.phase) == (JobState.FINISHED, Verdict.PASSED, Phase.REPORT)
        assert (job.runtime_ms, job.ref_runtime_ms, job.speedup, job.queue_ms) == (0.125, 0.5, pytest.approx(4.0), 40.0)
        assert job.document == told.document
        assert (job.lease_owner, job.lease_until) == (None, None)
        (case,) = history.evaluations(lease.job_id)
        assert (case.case_name, case.bind, case.correct, case.max_abs_error) == ("default", {"N": 4096}, True, 1e-7)
        by_side = {one.side: one for one in case.samples}
        assert by_side[Side.CANDIDATE].samples_ms == (0.125, 0.125 / 3, 0.25), "samples are exact"
        assert by_side[Side.CANDIDATE].calls == (1, 2, 4)
        assert {one.name: one.value for one in case.metrics if one.side is Side.CANDIDATE} == {
            "build.registers": 32.0,
            "build.spills": 0.0,
            "dropped_rounds": 0.0,
            "interval.low": 0.125 / 3,
            "interval.high": 0.25,
        }
        (attempt,) = history.attempts(lease.job_id)
        assert (attempt.outcome, attempt.number) == (AttemptOutcome.PUBLISHED, 1)

    def test_counters_are_metrics_of_their_side_and_ncus_own_names_stay_in_the_document(
        self, repository: Repository, history: History
    ) -> None:
        lease = leased(repository)
        told = passed()
        counted = {
            "custom_device_metrics": {
                "speed_of_light": {"dram_throughput_pct": 81.5},
                "roofline_metrics": {"limiting_side": "memory", "floor_us": 2.5, "without_ceiling": ["float16"]},
                "detailed_metrics": {"dram__bytes_read.sum [byte]": 1.0},
                "kernels": [{"kernel": "k"}],
                "absent": {"memory_metrics.l1_bytes": "why"},
            },
            "original_device_metrics": {"unsupported": "why"},
        }
        [case] = told.evaluation.cases
        evaluation = told.evaluation.model_copy(
            update={"cases": (case.model_copy(update={"device_metrics": counted}),)}
        )
        assert repository.publish(lease, replace(told, evaluation=evaluation))
        (kept,) = history.evaluations(lease.job_id)
        assert {(one.side, one.name): one.value for one in kept.metrics if one.name.startswith("counters")} == {
            (Side.CANDIDATE, "counters.speed_of_light.dram_throughput_pct"): 81.5,
            (Side.CANDIDATE, "counters.roofline_metrics.floor_us"): 2.5,
        }

    def test_publishing_again_with_the_same_lease_does_nothing(self, repository: Repository, history: History) -> None:
        lease = leased(repository)
        assert repository.publish(lease, passed())
        before = history.job(lease.job_id)
        assert not repository.publish(lease, wrong())
        assert history.job(lease.job_id) == before
        assert len(history.evaluations(lease.job_id)) == 1

    def test_a_finished_job_never_changes(self, repository: Repository, history: History) -> None:
        lease = leased(repository)
        repository.publish(lease, passed())
        before = history.job(lease.job_id)
        for action in (
            lambda: repository.start(lease),
            lambda: repository.heartbeat(lease, LEASE_S),
            lambda: repository.retry(lease, "why"),
            lambda: repository.withdraw(lease),
            lambda: repository.withdraw(lease.job_id),
        ):
            with pytest.raises(LostClaim):
                action()
        assert repository.expire() == ()
        assert history.job(lease.job_id) == before

    def test_several_cases_make_one_headline(self, repository: Repository, history: History) -> None:
        lease = leased(repository)
        cases = (passed_case("small", 0.25, 2.0), passed_case("large", 0.75, 8.0))
        repository.publish(lease, published(cases=cases))
        job = history.job(lease.job_id)
        assert job is not None
        assert (job.runtime_ms, job.speedup) == (1.0, pytest.approx(4.0))
        assert [case.case_name for case in history.evaluations(lease.job_id)] == ["small", "large"]

    def test_a_case_without_a_figure_leaves_the_headline_empty(self, repository: Repository, history: History) -> None:
        lease = leased(repository)
        cases = (passed_case("small"), passed_case("large").model_copy(update={"timing": None, "speedup": None}))
        repository.publish(lease, published(cases=cases))
        job = history.job(lease.job_id)
        assert job is not None
        assert (job.runtime_ms, job.speedup) == (None, None)

    def test_equal_environments_are_one_row(self, repository: Repository, database: Database) -> None:
        clocks = ENVIRONMENT.model_copy(update={"clocks": {"sm_mhz": 900.0}})
        other = ENVIRONMENT.model_copy(update={"driver": "580"})
        controls = [Control(median_ms=ms, interval_ms=(ms, ms), ratio=ms, age_s=60 * ms) for ms in (1.0, 2.0)]
        timed = [ENVIRONMENT.model_copy(update={"control": control}) for control in controls]
        for environment in (ENVIRONMENT, clocks, *timed, other):
            repository.publish(leased(repository), passed(environment=environment))
        with database.read() as connection:
            assert connection.scalar(text("SELECT count(*) FROM environment")) == 2

    def test_a_document_with_nan_publishes_nothing(self, repository: Repository, history: History) -> None:
        lease = leased(repository)
        with pytest.raises(HarnessError, match="cannot be written as JSON"):
            repository.publish(lease, replace(passed(), document={"runtime": float("nan")}))
        job = history.job(lease.job_id)
        assert job is not None
        assert job.state is JobState.CLAIMED
        assert repository.publish(lease, passed())

    def test_hostile_text_is_stored_escaped(self, repository: Repository, history: History) -> None:
        lease = leased(repository)
        told = wrong("got \0 and \ud800 and \x1b[31m")
        repository.publish(lease, replace(told, document={"stdout": "a\0\ud800"}))
        job = history.job(lease.job_id)
        assert job is not None
        assert job.message == "got \\x00 and \\ud800 and \x1b[31m"
        assert job.document == json.loads('{"stdout": "a\\u0000\\ud800"}')

    def test_a_failure_halfway_stores_nothing(
        self, repository: Repository, history: History, database: Database
    ) -> None:
        lease = leased(repository)
        huge = passed_case().model_copy(update={"trials_total": 2**80})
        with pytest.raises(StorageRefused):
            repository.publish(lease, published(cases=(passed_case(), huge)))
        job = history.job(lease.job_id)
        assert job is not None
        assert job.state is JobState.CLAIMED
        with database.read() as connection:
            assert connection.scalar(text("SELECT count(*) FROM evaluation")) == 0

    def test_a_job_may_come_in_leased_so_that_nobody_else_gets_it(self, repository: Repository) -> None:
        job = new_job()
        lease = repository.register_leased(job, "me", 60)
        assert lease is not None
        assert (lease.job_id, lease.owner, lease.attempt) == (job.job_id, "me", 1)
        assert repository.lease_next("you", 60) is None
        assert repository.register_leased(job, "you", 60) is None
        assert repository.publish(lease, passed())


def test_every_figure_of_a_timing_has_a_column_or_is_a_metric() -> None:
    columns = {column.key for column in Statistics.__table__.columns} | {"stats", "samples_ms", "calls"}
    columns |= {"launched_ms", "back_to_back_ms", "interval_ms", "dropped_rounds", "clocks"}  # rows of `metric`
    columns |= {"gb_per_s", "tflop_per_s", "speed_of_light_pct"}  # rows of `metric`, too
    columns |= {"limiting_side", "work_source"}  # words: in the document
    columns |= {"sm_mhz", "walls_ms", "nulls"}  # many of them, in samples.json
    assert set(Timing.model_fields) <= columns
    assert {f"{name}_ms" for name in RuntimeStats.model_fields} <= columns


class TestGiveBack:
    def test_a_retried_job_waits_again_until_its_attempts_are_used_up(
        self, repository: Repository, history: History
    ) -> None:
        job = new_job()
        repository.register(job)
        states = []
        for _ in range(3):
            lease = repository.lease(job.job_id, "me", LEASE_S)
            assert lease is not None
            states.append(repository.retry(lease, "the judge died"))
            assert repository.retry(lease, "the judge died") == states[-1], "the answer was lost: ask again"
        assert states == [JobState.QUEUED, JobState.QUEUED, JobState.BROKEN]
        found = history.job(job.job_id)
        assert found is not None
        assert (found.verdict, found.message) == (Verdict.HARNESS_ERROR, "the judge died")
        assert [attempt.number for attempt in history.attempts(job.job_id)] == [1, 2, 3]
        assert repository.lease(job.job_id, "me", LEASE_S) is None

    def test_a_broken_job_gets_its_result_document_once(
        self, repository: Repository, database: Database, history: History
    ) -> None:
        lease = leased(repository)
        repository.attach_result(lease.job_id, {"verdict": "passed"})
        Repository(database, max_attempts=1).retry(lease, "why")
        assert repository.attach_result(lease.job_id, {"verdict": "harness_error"}) == {"verdict": "harness_error"}
        assert repository.attach_result(lease.job_id, {"verdict": "passed"}) == {"verdict": "harness_error"}
        found = history.job(lease.job_id)
        assert found is not None
        assert found.document == {"verdict": "harness_error"}

    def test_a_withdrawn_attempt_does_not_count(self, repository: Repository, history: History) -> None:
        job = new_job()
        repository.register(job)
        for _ in range(5):
            lease = repository.lease(job.job_id, "me", LEASE_S)
            assert lease is not None
            repository.start(lease)
            assert repository.withdraw(lease)
            assert not repository.withdraw(lease)
            assert repository.register(job)
        assert [attempt.number for attempt in history.attempts(job.job_id)] == [None] * 5
        found = history.job(job.job_id)
        assert found is not None
        assert (found.attempts, found.fence) == (0, 10)

    def test_what_is_put_back_waits_as_if_nobody_had_taken_it(self, repository: Repository, history: History) -> None:
        job = new_job()
        repository.register(job)
        for _ in range(5):
            lease = repository.lease(job.job_id, "me", LEASE_S)
            assert lease is not None
            repository.put_back(lease, "no device is fit")
            repository.put_back(lease, "no device is fit")  # the answer was lost
        found = history.job(job.job_id)
        assert found is not None
        assert (found.state, found.attempts, found.lease_owner) == (JobState.QUEUED, 0, None)
        assert [(one.number, one.reason) for one in history.attempts(job.job_id)] == [(None, "no device is fit")]
        anothers = repository.lease(job.job_id, "another", LEASE_S)
        assert anothers is not None
        repository.put_back(lease, "no device is fit")
        repository.start(anothers)
        assert [event.kind for event in history.events(job.job_id)] == ["registered", "leased", "started"]
        assert repository.withdraw(job.job_id)
        assert repository.register(job)
        with pytest.raises(LostClaim):
            repository.put_back(replace(anothers, fence=anothers.fence + 7), "no device is fit")

    @pytest.mark.parametrize("oldest", [False, True])
    def test_jobs_are_passed_over_by_name_and_come_later(self, repository: Repository, oldest: bool) -> None:
        jobs = [new_job() for _ in range(3)]
        for job in jobs:
            repository.register(job)
        ids = [job.job_id for job in jobs]
        taken = [
            repository.lease_next("me", LEASE_S, turns=((1000, ""),), oldest=oldest, passed_over=over)
            for over in ({ids[0], "unknown"}, set(ids[:1]), ids, ())
        ]
        assert [lease and lease.job_id for lease in taken] == [ids[1], ids[2], None, ids[0]]

    @pytest.mark.parametrize("oldest", [False, True])
    def test_jobs_of_some_submitters_can_be_passed_over(self, repository: Repository, oldest: bool) -> None:
        jobs = [replace(new_job(), submitter_uid=uid) for uid in (1000, 1000, 2000, None)]
        for job in jobs:
            repository.register(job)
        taken = [
            repository.lease_next(
                "me",
                LEASE_S,
                turns=((1000, ""),),
                oldest=oldest,
                passed_over={"x"},
                not_of=[(uid, "") for uid in uids],
            )
            for uids in ({1000, 3000}, [1000], {1000}, {2000})
        ]
        ids = [lease and lease.job_id for lease in taken]
        assert set(ids[:2]) == {jobs[2].job_id, jobs[3].job_id}
        assert ids[2:] == [None, jobs[0].job_id]

    def test_withdrawing_by_id_takes_the_job_from_its_holder(self, repository: Repository) -> None:
        lease = leased(repository)
        assert repository.withdraw(lease.job_id)
        with pytest.raises(LostClaim):
            repository.publish(lease, passed())

    def test_an_unknown_job_cannot_be_withdrawn(self, repository: Repository) -> None:
        with pytest.raises(LostClaim):
            repository.withdraw("0" * 32)

    def test_only_leases_that_are_over_expire(
        self, repository: Repository, history: History, database: Database
    ) -> None:
        alive, over = leased(repository, "alive"), leased(repository, "dead")
        let_run_out(database, over)
        (expired,) = repository.expire()
        assert (expired.job_id, expired.owner, expired.fence, expired.state) == (
            over.job_id,
            "dead",
            1,
            JobState.QUEUED,
        )
        assert repository.expire() == ()
        assert history.held_by("alive") == (alive,)
        again = repository.lease(over.job_id, "next", LEASE_S)
        assert again is not None
        assert again.fence > over.fence
        assert again.attempt == 2

    def test_a_lease_that_ran_out_for_the_last_time_breaks_the_job(
        self, repository: Repository, database: Database, history: History
    ) -> None:
        job = new_job()
        repository.register(job)
        for _ in range(3):
            lease = repository.lease(job.job_id, "killer", LEASE_S)
            assert lease is not None
            let_run_out(database, lease)
            (expired,) = repository.expire()
        assert expired.state is JobState.BROKEN
        with pytest.raises(LostClaim):
            repository.retry(lease, "thawed")
        found = history.job(job.job_id)
        assert found is not None
        assert found.verdict is Verdict.HARNESS_ERROR

    def test_a_dead_owner_is_not_waited_for(self, repository: Repository, history: History) -> None:
        mine, other = leased(repository, "dead"), leased(repository, "alive")
        assert [one.job_id for one in repository.abandon("dead")] == [mine.job_id]
        assert history.held_by("alive") == (other,)

    def test_a_queued_job_without_an_attempt_left_is_broken_and_says_why(
        self, repository: Repository, database: Database, history: History
    ) -> None:
        lease, fresh = leased(repository), new_job()
        repository.retry(lease, "the judge died")
        repository.register(fresh)
        assert repository.break_exhausted() == (), "one of three"
        lowered = Repository(database, max_attempts=1)
        (broken,) = lowered.break_exhausted()
        assert (broken.job_id, broken.owner, broken.state) == (lease.job_id, "", JobState.BROKEN)
        assert lowered.break_exhausted() == ()
        found = history.job(lease.job_id)
        assert found is not None
        assert (found.state, found.verdict, found.attempts) == (JobState.BROKEN, Verdict.HARNESS_ERROR, 1)
        assert found.message == "attempts: 1, and max_attempts is 1 now; the last time: the judge died"
        assert found.fence > lease.fence + 1
        assert history.waiting_for("me", at_most=9) == 1, "the other has its attempt still"
        assert lowered.lease_next("me", LEASE_S) is not None

    def test_a_queued_job_without_an_attempt_left_holds_up_none_behind_it(
        self, repository: Repository, database: Database
    ) -> None:
        """Before somebody has broken it."""
        spent, fresh = leased(repository), new_job()
        repository.retry(spent, "the judge died")
        repository.register(fresh)
        found = Repository(database, max_attempts=1).lease_next("me", LEASE_S)
        assert found is not None
        assert found.job_id == fresh.job_id

    def test_more_jobs_without_an_attempt_than_a_batch_holds_are_all_broken(
        self, repository: Repository, database: Database, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(repository_leases, "TAKE_BACK_BATCH", 2)
        for lease in [leased(repository) for _ in range(5)]:
            repository.retry(lease, "why")
        assert len(Repository(database, max_attempts=1).break_exhausted()) == 5

    def test_many_leases_expire_at_once(self, repository: Repository, database: Database) -> None:
        for _ in range(5):
            leased(repository, "dead")
        with database.write() as connection:
            connection.execute(text("UPDATE job SET lease_until = '2020-01-01 00:00:00.000000'"))
        assert len(repository.expire()) == 5


def test_moves_that_the_lifecycle_forbids_are_impossible(repository: Repository, database: Database) -> None:
    for old in JobState:
        for new in JobState:
            with database.write() as connection:
                if (old, new) in MOVES:
                    assert not repository_rows.move(connection, "0" * 32, (old,), new, held_fence=1)
                    continue
                with pytest.raises(ValueError, match="may not move"):
                    repository_rows.move(connection, "0" * 32, (old,), new, held_fence=1)


@pytest.mark.parametrize(
    "change",
    [
        "state = 'finished'",
        "state = 'running', lease_until = NULL",
        "state = 'asleep'",
        "lease_owner = NULL",
        "verdict = 'passed'",
        "fence = -1",
        "phase = 'lunch'",
    ],
)
def test_the_database_itself_refuses_broken_rows(repository: Repository, database: Database, change: str) -> None:
    lease = leased(repository)
    with pytest.raises(StorageRefused), database.write() as connection:
        connection.execute(text(f"UPDATE job SET {change} WHERE id = '{lease.job_id}'"))
    with database.write() as connection:
        connection.execute(text(f"UPDATE job SET progress = 'fine' WHERE id = '{lease.job_id}'"))


def test_two_attempts_cannot_share_a_number(repository: Repository, database: Database) -> None:
    lease = leased(repository)
    with pytest.raises(StorageRefused), database.write() as connection:
        connection.execute(
            text(
                "INSERT INTO attempt (job_id, fence, number, owner, leased_at) "
                f"SELECT job_id, fence + 1, number, owner, leased_at FROM attempt WHERE job_id = '{lease.job_id}'"
            )
        )


def test_events_are_appended(repository: Repository, history: History, database: Database) -> None:
    lease = leased(repository)
    with database.write() as connection:
        repository_rows.note(connection, lease.job_id, "note", "hello \0")
        repository_rows.note(connection, None, "daemon started", "host")
    assert history.events(lease.job_id)[-1].detail == "hello \\x00"
    (event,) = history.events(None)
    assert event.kind == "daemon started"
    with pytest.raises(StorageRefused), database.write() as connection:
        repository_rows.note(connection, "0" * 32, "note")


class TestMany:
    def test_a_job_is_seized_from_whoever_has_it_and_that_attempt_does_not_count(self, repository: Repository) -> None:
        queued, held = new_job(), leased(repository)
        repository.register(queued)
        for job_id in (queued.job_id, held.job_id):
            lease = repository.seize(job_id, "you", LEASE_S)
            assert lease is not None
            assert (lease.owner, lease.attempt) == ("you", 0)
        with pytest.raises(LostClaim):
            repository.heartbeat(held, LEASE_S)

    @pytest.mark.parametrize("how", ["expired", "put back", "withdrawn", "seized once more"])
    def test_a_job_seized_by_who_dies_then_has_all_its_attempts(
        self, database: Database, history: History, how: str
    ) -> None:
        repository = Repository(database, max_attempts=1)
        came, queued, held = new_job(), new_job(), leased(repository)
        repository.register(queued)
        seized = [
            repository.register_seized(came, "you", LEASE_S),
            *(repository.seize(job_id, "you", LEASE_S) for job_id in (queued.job_id, held.job_id)),
        ]
        for lease in seized:
            assert lease is not None
            if how == "put back":
                repository.put_back(lease, "its answer was lost")
            elif how == "withdrawn":
                assert repository.withdraw(lease)
            elif how == "seized once more":
                assert repository.seize(lease.job_id, "them", LEASE_S) is not None
        repository.abandon("you")
        repository.abandon("them")
        for job in (came, queued):
            repository.register(job)  # which revives a withdrawn one
        for job_id in (came.job_id, queued.job_id, held.job_id):
            if how == "withdrawn" and job_id == held.job_id:
                continue
            assert [attempt.number for attempt in history.attempts(job_id)] == [None] * len(history.attempts(job_id))
            lease = repository.lease(job_id, "me", LEASE_S)
            assert lease is not None
            assert lease.attempt == 1

    def test_a_job_that_has_used_up_its_attempts_can_still_be_seized_to_be_ended(self, database: Database) -> None:
        repository, job = Repository(database, max_attempts=1), new_job()
        repository.register(job)
        with database.write() as connection:
            connection.execute(text(f"UPDATE job SET attempts = 1 WHERE id = '{job.job_id}'"))
        assert repository.lease(job.job_id, "me", LEASE_S) is None
        lease = repository.register_seized(job, "me", LEASE_S)
        assert lease is not None
        assert lease.attempt == 1
        assert repository.publish(lease, passed())

    def test_many_jobs_are_seized_and_published_in_one_step_each(
        self, repository: Repository, history: History
    ) -> None:
        fresh = [new_job() for _ in range(3)]
        queued, held, ended = new_job(), leased(repository), leased(repository)
        repository.register(queued)
        repository.publish(ended, passed())
        known = [queued.job_id, held.job_id, ended.job_id, "f" * 32]
        seized = repository.seize_many(fresh, known, "me", LEASE_S)
        assert [lease.job_id for lease in seized] == [
            *sorted(job.job_id for job in fresh),
            queued.job_id,
            held.job_id,
        ]
        assert {lease.owner for lease in seized} == {"me"}
        with pytest.raises(LostClaim):
            repository.heartbeat(held, LEASE_S)
        lost, *ours = seized
        repository.withdraw(lost.job_id)
        counted = repository.publish_many([(lease, passed()) for lease in seized])
        assert counted == {lease.job_id for lease in ours}
        assert repository.publish_many([(lease, passed()) for lease in ours]) == counted, "an answer that was lost"
        states = {job.job_id: job.state for job in history.jobs(limit=50).jobs}
        assert all(states[lease.job_id] is JobState.FINISHED for lease in ours)
        assert states[lost.job_id] is JobState.WITHDRAWN

    def test_labels_that_a_glance_has_told_are_there_until_a_description_says_otherwise(
        self, repository: Repository, history: History
    ) -> None:
        job = replace(new_job(), labels={"sweep": "1"})
        repository.register(job)
        assert [found.job_id for found in history.jobs(label=("sweep", "1")).jobs] == [job.job_id]
        assert dict(history.contract_of(job.job_id).labels or {}) == {"sweep": "1"}
        repository.describe(job.job_id, Description(kind="evaluate", kernel_type="torch", labels={"sweep": "2"}))
        assert not history.jobs(label=("sweep", "1")).jobs
