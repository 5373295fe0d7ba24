"""Questions, statistics and cleanup, the same on SQLite and Postgres."""

from __future__ import annotations

import subprocess
import sys
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from db_examples import ENVIRONMENT, new_job, passed, passed_case, published, wrong
from sqlalchemy import update

from daemon.callers import TAG_DIGITS, Callers, tag_of
from daemon.db import repository_cleanup
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.db.label_statistics import stats_by_label
from daemon.db.models import Event, Job
from daemon.db.records import Description, Published
from daemon.db.repository import Repository
from daemon.db.repository_cleanup import cleanup, forget_withdrawn
from daemon.errors import OperatorError
from daemon.evaluation import CaseEvaluation
from daemon.lifecycle import JobState
from daemon.verdict import Comparison, Verdict

CALLERS = Callers({tag_of(name): name for name in ("mine", "other")}, 1000)


def judged(
    repository: Repository,
    told: Published | None,
    name: str = "vec_add",
    problem: str | None = None,
    uid: int | None = 1000,
    kind: str = "compare",
    contract_sha256: str | None = None,
    caller: str | None = None,
) -> str:
    """A job with this result (None: waiting); its id. With `contract_sha256`: of that very bundle. `caller`: who has
    sent it over HTTP."""
    own_id = {} if caller is None else {"job_id": uuid.uuid4().hex[:-TAG_DIGITS] + tag_of(caller)}
    job = new_job(name, submitter_uid=uid, **own_id)
    repository.register(job)
    source_sha256 = None if contract_sha256 is None else "5" * 64
    said = Description(
        kind,
        "triton",
        problem=problem,
        labels={"run": name},
        contract_sha256=contract_sha256,
        source_sha256=source_sha256,
    )
    repository.describe(job.job_id, said)
    if told is not None:
        lease = repository.lease(job.job_id, "me", 60)
        assert lease is not None
        repository.publish(lease, told)
    return job.job_id


def set_times(
    database: Database, job_id: str, *, created: datetime | None = None, finished: datetime | None = None
) -> None:
    values = {"created_at": created, "finished_at": finished}
    with database.write() as connection:
        given = {key: value for key, value in values.items() if value is not None}
        connection.execute(update(Job).where(Job.id == job_id).values(**given))


class TestJobs:
    def test_a_job_is_found_by_the_beginning_of_its_id(self, repository: Repository, history: History) -> None:
        ids = ["ab" + "0" * 30, "ab" + "f" * 30, "ac" + "0" * 30]
        for job_id in ids:
            repository.register(new_job(job_id=job_id))
        for prefix, expected in (("ac", ids[2]), ("AB0", ids[0]), ("abf", ids[1]), (ids[1], ids[1])):
            found = history.job(prefix)
            assert found is not None
            assert found.job_id == expected
        assert history.job("ad") is None
        assert history.job("not hex") is None
        with pytest.raises(OperatorError, match="begin with 'ab'"):
            history.job("ab")

    def test_the_newest_of_a_name_is_found(self, repository: Repository, history: History, database: Database) -> None:
        first, second = judged(repository, passed()), judged(repository, wrong())
        set_times(database, first, created=datetime(2020, 1, 1, tzinfo=UTC))
        found = history.newest("vec_add")
        assert found is not None
        assert found.job_id == second
        assert found.document is not None
        assert history.newest("nothing") is None

    def test_the_newest_is_found_by_the_name_it_was_dropped_under(
        self, repository: Repository, history: History, database: Database
    ) -> None:
        called_so, dropped_so = new_job("relu"), new_job("b12.tar.gz")
        for job in (called_so, dropped_so):
            repository.register(job)
        repository.describe(dropped_so.job_id, Description("evaluate", "torch", name="relu-of-mine"))
        found = history.newest("b12", ("b12", "b12.tar.gz"))
        assert found is not None and (found.job_id, found.name) == (dropped_so.job_id, "relu-of-mine")
        assert history.newest("b12", ("b12",)) is None
        set_times(database, dropped_so.job_id, created=datetime(2020, 1, 1, tzinfo=UTC))
        found = history.newest("relu", ("b12.tar.gz",))
        assert found is not None and found.job_id == called_so.job_id

    def test_what_is_left_of_a_lease_is_told_by_the_databases_clock(
        self, repository: Repository, history: History
    ) -> None:
        job = new_job("held")
        repository.register(job)
        waiting = history.job(job.job_id)
        assert waiting is not None and waiting.lease_left_s is None
        repository.lease(job.job_id, "host-boot-1", 600)
        held = history.job(job.job_id)
        assert held is not None and held.lease_left_s is not None
        assert 0 < held.lease_left_s <= 600

    def test_pages_hold_every_job_once_newest_first(
        self, repository: Repository, history: History, database: Database
    ) -> None:
        moment = datetime(2024, 1, 1, tzinfo=UTC)
        ids = []
        for number in range(7):
            ids.append(judged(repository, None))
            set_times(database, ids[-1], created=moment + timedelta(seconds=number // 2))  # some at the same time
        seen: list[str] = []
        cursor = None
        while True:
            page = history.jobs(limit=3, cursor=cursor)
            seen += [job.job_id for job in page.jobs]
            cursor = page.cursor
            if cursor is None:
                break
        assert sorted(seen) == sorted(ids)
        assert seen[0] == ids[6]

    def test_filters_narrow(self, repository: Repository, history: History, database: Database) -> None:
        waiting = judged(repository, None, "a", "p")
        done = judged(repository, passed(), "b", "p")
        failed = judged(repository, wrong(), "b", "q")
        set_times(database, waiting, created=datetime(2020, 1, 1, tzinfo=UTC))

        def ids(**filters: object) -> set[str]:
            return {job.job_id for job in history.jobs(**filters).jobs}  # type: ignore[arg-type]

        assert ids() == {waiting, done, failed}
        assert ids(state=JobState.QUEUED) == {waiting}
        assert ids(state=[JobState.QUEUED, JobState.FINISHED]) == {waiting, done, failed}
        assert ids(name="b") == {done, failed}
        assert ids(problem="p") == {waiting, done}
        assert ids(verdict=Verdict.WRONG_ANSWER) == {failed}
        assert ids(label=("run", "a")) == {waiting}
        assert ids(label=("run", "zzz")) == set()
        assert ids(label=("none", "a")) == set()
        assert ids(since=datetime(2021, 1, 1, tzinfo=UTC)) == {done, failed}

    @pytest.mark.parametrize("key", ["größe", "大小", "😀", "a.b", "$", "[0]", "it's"])
    def test_a_label_is_found_whatever_its_key_is(
        self, key: str, repository: Repository, history: History, database: Database
    ) -> None:
        job = new_job()
        repository.register(job)
        repository.describe(job.job_id, Description(kind="evaluate", kernel_type="triton", labels={key: "groß"}))
        assert [found.job_id for found in history.jobs(label=(key, "groß")).jobs] == [job.job_id]
        lease = repository.lease(job.job_id, "me", 60)
        assert lease is not None
        repository.publish(lease, passed())
        assert [row.key for row in stats_by_label(database, key)] == ["groß"]

    def test_nothing_has_a_label_that_no_contract_may_have(
        self, repository: Repository, history: History, database: Database
    ) -> None:
        judged(repository, passed())
        for key in ('"', 'run"', "\\", "\0", ""):
            assert history.jobs(label=(key, "a")).jobs == ()
            assert [row.key for row in stats_by_label(database, key)] == [None]

    def test_a_foreign_cursor_is_refused(self, history: History) -> None:
        for cursor in ("", "yesterday/ab", "2024-01-01T00:00:00/ab", "2024-01-01T00:00:00+00:00/' OR 1"):
            with pytest.raises(OperatorError, match="not a cursor"):
                history.jobs(cursor=cursor)

    def test_counts_name_every_state(self, repository: Repository, history: History) -> None:
        judged(repository, None)
        judged(repository, passed())
        counts = history.counts_by_state()
        assert set(counts) == set(JobState)
        assert (counts[JobState.QUEUED], counts[JobState.FINISHED], counts[JobState.BROKEN]) == (1, 1, 0)
        assert history.waiting_for("me", at_most=9) == 1


class TestStats:
    def test_figures_are_those_of_passed_jobs(self, repository: Repository, history: History) -> None:
        for mean_ms in (4.0, 1.0, 2.0, 8.0):
            judged(repository, passed(mean_ms=mean_ms, speedup=mean_ms), problem="p")
        judged(repository, wrong(), problem="p")
        judged(repository, None, problem="p")
        (row,) = history.stats(by="problem")
        assert (row.key, row.count, row.passed, row.pass_share) == ("p", 5, 4, 0.8)
        assert (row.best_runtime_ms, row.median_runtime_ms) == (1.0, 3.0)
        assert row.best_speedup == pytest.approx(8.0)
        assert (row.mean_evaluate_ms, row.median_queue_ms, row.p95_queue_ms) == (321.0, 40.0, 40.0)

    @pytest.mark.parametrize(
        ("by", "keys"),
        [
            ("verdict", ["passed", "wrong_answer"]),
            ("problem", [None, "p"]),
            ("name", ["x", "y"]),
            ("kernel_type", ["triton"]),
            ("day", ["2024-03-02", "2024-03-01"]),
            ("submitter", ["1", "2"]),
        ],
    )
    def test_groups(
        self, repository: Repository, history: History, database: Database, by: str, keys: list[str | None]
    ) -> None:
        late = datetime(2024, 3, 1, 23, 59, 59, 999999, tzinfo=UTC)
        for told, name, problem, uid, finished in (
            (passed(), "x", None, 1, late),
            (passed(), "x", None, 1, late),
            (wrong(), "y", "p", 2, late + timedelta(microseconds=1)),
        ):
            set_times(database, judged(repository, told, name, problem, uid), finished=finished)
        rows = history.stats(by=by)
        assert [row.key for row in rows] == keys
        assert sum(row.count for row in rows) == 3

    def test_devices_are_grouped_by_their_names_whatever_else_of_the_environment_differs(
        self, repository: Repository, history: History
    ) -> None:
        h200 = ENVIRONMENT.model_copy(update={"device_name": "H200", "driver": "1"})
        for environment in (h200, h200.model_copy(update={"driver": "2"}), ENVIRONMENT):
            judged(repository, passed(environment=environment), "a", "p")
        judged(repository, passed(environment=h200), "a", "p")
        assert [(row.key, row.count) for row in history.stats(by="device")] == [("H200", 3), (None, 1)]

    def test_callers_over_http_are_submitters_of_their_own(self, repository: Repository, history: History) -> None:
        """Others' tags are none; a group of jobs of which nobody knows whose they are has no key."""
        senders = [(1000, "mine"), (1000, "mine"), (1000, "other"), (1000, None), (1001, "mine"), (None, "mine")]
        for uid, caller in senders:
            judged(repository, passed(), "a", "p", uid=uid, caller=caller)
        for limit in (None, 10):
            rows = history.stats(by="submitter", callers=CALLERS, limit=limit)
            assert {row.key: row.count for row in rows} == {"mine": 2, "other": 1, "1000": 1, "1001": 1, None: 1}
        assert [row.key for row in history.stats(by="submitter", callers=CALLERS, limit=1)] == ["mine"]

    def test_a_caller_over_http_who_is_called_like_a_uid_is_not_taken_for_that_user(
        self, repository: Repository, history: History
    ) -> None:
        for caller in ("1000", None):
            judged(repository, passed(), "a", "p", caller=caller)
        rows = history.stats(by="submitter", callers=Callers({tag_of("1000"): "1000"}, 1000))
        assert {row.key for row in rows} == {"1000", "caller 1000"}

    def test_since_counts_from_the_end_of_a_job(
        self, repository: Repository, history: History, database: Database
    ) -> None:
        set_times(database, judged(repository, passed()), finished=datetime(2020, 1, 1, tzinfo=UTC))
        judged(repository, passed())
        assert [row.count for row in history.stats(since=datetime(2021, 1, 1, tzinfo=UTC))] == [1]
        assert history.stats(since=datetime(2100, 1, 1, tzinfo=UTC)) == ()

    def test_an_unknown_grouping_is_answered_with_the_nearest(self, history: History) -> None:
        with pytest.raises(OperatorError) as caught:
            history.stats(by="problems")
        assert caught.value.hint == "did you mean problem?"

    def test_the_leaderboard_holds_the_best_of_each_name_on_each_device(
        self, repository: Repository, history: History
    ) -> None:
        judged(repository, passed(mean_ms=3.0), "a", "p")
        best = judged(repository, passed(mean_ms=1.0), "a", "p")
        gpu = ENVIRONMENT.model_copy(update={"device_name": "H200"})
        other = judged(repository, passed(mean_ms=2.0, environment=gpu), "b", "p")
        judged(repository, wrong(), "c", "p")
        judged(repository, passed(mean_ms=0.1), "d", "q")
        board = history.leaderboard("p")
        assert [(one.rank, one.job_id, one.runtime_ms) for one in board] == [(1, other, 2.0), (1, best, 1.0)]
        assert [one.name for one in history.leaderboard("p", device_name="H200")] == ["b"]

    def test_a_job_and_the_leaderboard_say_whether_a_speedup_can_be_told_from_noise(
        self, repository: Repository, history: History
    ) -> None:
        def judged_as(name: str, *of_cases: Comparison | None) -> None:
            cases = tuple(
                passed_case(f"case{number}").model_copy(update={"comparison": said})
                for number, said in enumerate(of_cases)
            )
            told = published(cases=cases)
            judged(repository, told, name, "p")
            for found in (history.leaderboard("p"), history.jobs().jobs):
                assert {one.name: one.comparison for one in found}[name] == told.evaluation.comparison

        judged_as("all", Comparison.FASTER, Comparison.FASTER)
        judged_as("apart", Comparison.FASTER, Comparison.SLOWER)
        judged_as("in part", Comparison.FASTER, None)
        judged_as("alone", None)
        judged_as("unclear", Comparison.CANNOT_TELL)

    def test_nobody_takes_the_place_of_a_kernel_by_one_of_its_name(
        self, repository: Repository, history: History
    ) -> None:
        mine = judged(repository, passed(mean_ms=2.0), "a", "p", uid=1000)
        namesake = judged(repository, passed(mean_ms=1.0), "a", "p", uid=1001)
        judged(repository, passed(mean_ms=3.0), "a", "p", uid=1001)
        board = history.leaderboard("p")
        assert [(one.job_id, one.submitter_uid) for one in board] == [(namesake, 1001), (mine, 1000)]

    def test_nobody_takes_the_place_of_a_kernel_by_one_whose_answers_nobody_looked_at(
        self, repository: Repository, history: History
    ) -> None:
        judged(repository, passed(mean_ms=2.0), "slow", "p")
        judged(repository, passed(mean_ms=1.0), "fast", "p")
        judged(repository, passed(mean_ms=0.1), "nothing", "p", kind="evaluate")
        judged(repository, passed(mean_ms=0.1), "fast", "p", kind="evaluate")
        board = history.leaderboard("p")
        assert [(one.rank, one.name, one.runtime_ms) for one in board] == [
            (1, "fast", 1.0),
            (2, "slow", 2.0),
            (3, "nothing", 0.1),
        ]

    @pytest.mark.parametrize(("times_ms", "middle"), [([1.0], 0), ([2.0, 1.0], 1), ([0.1, 2.0, 1.0], 2)])
    def test_of_a_bundle_that_is_judged_again_the_run_in_the_middle_counts(
        self, repository: Repository, history: History, times_ms: list[float], middle: int
    ) -> None:
        again = [judged(repository, passed(mean_ms=ms), "again", "p", contract_sha256="a" * 64) for ms in times_ms]
        once = judged(repository, passed(mean_ms=1.5), "once", "p", contract_sha256="b" * 64)
        board = history.leaderboard("p")
        assert [(one.job_id, one.runs) for one in board] == [(again[middle], len(again)), (once, 1)]

    def test_a_kernel_that_passes_as_luck_has_it_is_shown_with_the_runs_in_which_it_failed(
        self, repository: Repository, history: History
    ) -> None:
        def sent(told: Published, name: str, bundle: str = "a", **of_whom: Any) -> None:
            judged(repository, told, name, "p", contract_sha256=bundle * 64, **of_whom)

        gpu = ENVIRONMENT.model_copy(update={"device_name": "H200"})
        unbuilt = published(verdict=Verdict.COMPILE_ERROR)
        for told, name in ((wrong(), "lucky"), (wrong(), "of another name"), (unbuilt, "lucky"), (passed(), "lucky")):
            sent(told, name)
        sent(wrong(), "lucky", bundle="b")
        sent(passed(environment=gpu), "lucky")
        sent(passed(), "lucky", uid=1001)
        sent(wrong(), "lucky", caller="mine")
        sent(passed(), "lucky", caller="other")
        board = history.leaderboard("p", callers=CALLERS)
        found = {(one.device_name, one.submitter_uid, one.caller): (one.runs, one.failed_runs) for one in board}
        assert found == {
            (None, 1000, None): (1, 2),
            ("H200", 1000, None): (1, 0),
            (None, 1001, None): (1, 0),
            (None, 1000, "other"): (1, 0),
        }

    def test_of_several_bundles_of_one_name_the_fastest_counts(self, repository: Repository, history: History) -> None:
        for number, mean_ms in enumerate((3.0, 1.0, 2.0)):
            judged(repository, passed(mean_ms=mean_ms), "a", "p", contract_sha256=f"{number}" * 64)
        assert [(one.runtime_ms, one.runs) for one in history.leaderboard("p")] == [(1.0, 1)]

    def test_over_http_nobody_takes_the_place_of_a_kernel_by_one_of_its_name(
        self, repository: Repository, history: History
    ) -> None:
        mine = judged(repository, passed(mean_ms=2.0), "a", "p", caller="mine")
        namesake = judged(repository, passed(mean_ms=1.0), "a", "p", caller="other")
        local = judged(repository, passed(mean_ms=3.0), "a", "p")
        board = history.leaderboard("p", callers=CALLERS)
        assert [(one.job_id, one.caller) for one in board] == [(namesake, "other"), (mine, "mine"), (local, None)]

    def test_over_http_each_caller_has_so_many_places_and_nobody_else_more_by_a_callers_tag(
        self, repository: Repository, history: History
    ) -> None:
        for number, caller in enumerate(("other", "other", "mine")):
            judged(repository, passed(mean_ms=1.0 + number), f"k{number}", "p", caller=caller)
        for number, caller in enumerate(("other", "mine", None)):  # ids are chosen by whoever drops a bundle
            judged(repository, passed(mean_ms=5.0 + number), f"l{number}", "p", uid=1001, caller=caller)
        board = history.leaderboard("p", per_submitter=1, callers=CALLERS)
        assert [one.name for one in board] == ["k0", "k2", "l0"]

    def test_of_a_bundle_that_two_callers_have_sent_each_has_a_run_in_the_middle(
        self, repository: Repository, history: History
    ) -> None:
        for mean_ms, caller in ((1.0, "mine"), (2.0, "other"), (3.0, "other")):
            judged(repository, passed(mean_ms=mean_ms), "a", "p", contract_sha256="a" * 64, caller=caller)
        board = history.leaderboard("p", callers=CALLERS)
        assert [(one.caller, one.runtime_ms, one.runs) for one in board] == [("mine", 1.0, 1), ("other", 2.0, 2)]

    def test_a_submitter_has_so_many_places_on_each_device_at_most(
        self, repository: Repository, history: History
    ) -> None:
        for device in ("A", "B"):
            there = ENVIRONMENT.model_copy(update={"device_name": device})
            for number in range(3):
                judged(repository, passed(mean_ms=1.0 + number, environment=there), f"k{number}", "p", uid=1001)
            judged(repository, passed(mean_ms=2.5, environment=there), "mine", "p")
            judged(repository, passed(mean_ms=9.0, environment=there), "old", "p", uid=1002)
        for count, names in ((1, ["k0", "mine", "old"]), (2, ["k0", "k1", "mine", "old"])):
            board = history.leaderboard("p", per_submitter=count)
            expected = [(device, rank, name) for device in "AB" for rank, name in enumerate(names, start=1)]
            assert [(one.device_name, one.rank, one.name) for one in board] == expected

    def test_a_kernel_has_the_labels_of_all_of_its_cases(self, repository: Repository, history: History) -> None:
        def case(name: str, of_case: tuple[str, ...], of_time: tuple[str, ...]) -> CaseEvaluation:
            told = passed_case(name)
            assert told.timing is not None
            return told.model_copy(
                update={"labels": of_case, "timing": told.timing.model_copy(update={"labels": of_time})}
            )

        cases = (case("small", ("less_exact",), ("batched",)), case("large", (), ("batched", "few_rounds")))
        judged(repository, published(cases=cases), "a", "p")
        judged(repository, passed(), "b", "p")
        assert {one.name: one.labels for one in history.leaderboard("p")} == {
            "a": ("less_exact", "batched", "few_rounds"),
            "b": (),
        }

    def test_times_of_different_devices_are_ranked_apart(self, repository: Repository, history: History) -> None:
        for device, name, mean_ms in (
            ("A", "x", 1.0),
            ("A", "y", 2.0),
            ("B", "x", 0.1),
            ("B", "y", 0.05),
            ("B", "z", 1),
        ):
            there = ENVIRONMENT.model_copy(update={"device_name": device})
            judged(repository, passed(mean_ms=mean_ms, environment=there), name, "p")
        board = [(one.device_name, one.rank, one.name) for one in history.leaderboard("p", limit=2)]
        assert board == [("A", 1, "x"), ("A", 2, "y"), ("B", 1, "y"), ("B", 2, "x")]


class TestCleanup:
    def test_the_best_of_each_problem_and_what_is_not_finished_stay(
        self, repository: Repository, history: History, database: Database
    ) -> None:
        long_ago = datetime(2020, 1, 1, tzinfo=UTC)
        slow = judged(repository, passed(mean_ms=3.0), "a", "p")
        best = judged(repository, passed(mean_ms=1.0), "b", "p")
        bad = judged(repository, wrong(), "a", "p")
        nameless = judged(repository, passed(mean_ms=9.0), "a", None)
        waiting = judged(repository, None, "a", "p")
        recent = judged(repository, wrong(), "a", "p")
        for job_id in (slow, best, bad, nameless):
            set_times(database, job_id, finished=long_ago)
        planned = cleanup(database, timedelta(days=30), 1, dry_run=True)
        assert set(planned.job_ids) == {slow, bad}
        assert (planned.evaluations, planned.kept_best, planned.dry_run) == (2, 2, True)
        assert history.job(slow) is not None
        report = cleanup(database, timedelta(days=30), 1)
        assert (set(report.job_ids), report.evaluations) == ({slow, bad}, 2)
        assert {job.job_id for job in history.jobs().jobs} == {best, nameless, waiting, recent}
        assert history.evaluations(slow) == ()
        assert cleanup(database, timedelta(days=30), 1).job_ids == ()
        assert set(cleanup(database, timedelta(days=30), 0).job_ids) == {best, nameless}

    def test_what_was_compared_with_something_stays_rather_than_what_was_not(
        self, repository: Repository, database: Database
    ) -> None:
        alone = judged(repository, passed(mean_ms=0.1), "a", "p", kind="evaluate")
        set_times(
            database, judged(repository, passed(mean_ms=1.0), "b", "p"), finished=datetime(2020, 1, 1, tzinfo=UTC)
        )
        set_times(database, alone, finished=datetime(2020, 1, 1, tzinfo=UTC))
        assert cleanup(database, timedelta(days=30), 1).job_ids == (alone,)

    def test_the_best_of_each_device_stays(self, repository: Repository, database: Database) -> None:
        gone = []
        for device, times_ms in (("A", (2.0, 1.0)), ("B", (0.1, 0.2)), (None, (9.0, 8.0))):
            there = ENVIRONMENT.model_copy(update={"device_name": device})
            ids = {
                mean_ms: judged(repository, passed(mean_ms=mean_ms, environment=there), "x", "p")
                for mean_ms in times_ms
            }
            gone.append(ids[max(times_ms)])
        assert set(cleanup(database, timedelta(0), 1).job_ids) == set(gone)

    def test_what_a_leaderboard_shows_stays_and_not_the_luckiest_run(
        self, repository: Repository, database: Database, history: History
    ) -> None:
        for mean_ms in (0.1, 2.0, 1.0):
            judged(repository, passed(mean_ms=mean_ms), "a", "p", contract_sha256="a" * 64)
        judged(repository, passed(mean_ms=1.5), "b", "p", contract_sha256="b" * 64)
        before = history.leaderboard("p")
        cleanup(database, timedelta(0), 2)
        assert [one.job_id for one in history.leaderboard("p")] == [one.job_id for one in before]

    @pytest.mark.parametrize("is_recent", [False, True])
    def test_a_kernel_that_is_right_by_luck_keeps_the_last_runs_in_which_it_failed(
        self,
        repository: Repository,
        database: Database,
        history: History,
        monkeypatch: pytest.MonkeyPatch,
        is_recent: bool,
    ) -> None:
        """Whether it stays because it is the best, or because it is not old yet."""
        monkeypatch.setattr(repository_cleanup, "_DOUBTS", 2)

        def sent(told: Published, bundle: str = "a", days: int = 60, **of_whom: Any) -> str:
            job_id = judged(repository, told, bundle, "p", contract_sha256=bundle * 64, **of_whom)
            set_times(database, job_id, finished=datetime.now(UTC) - timedelta(days=days))
            return job_id

        gpu = ENVIRONMENT.model_copy(update={"device_name": "H200"})
        gone = [sent(published(verdict=Verdict.COMPILE_ERROR)), sent(wrong(), days=61)]
        doubts = [sent(wrong(), days=days) for days in (59, 58)]
        gone += [sent(wrong(), "b"), sent(wrong(), uid=1001), sent(wrong(), caller="mine")]
        gone += [sent(published(verdict=Verdict.TIMEOUT, environment=gpu))]
        lucky = sent(passed(mean_ms=0.5), days=1 if is_recent else 60)
        other = sent(passed(mean_ms=0.1 if is_recent else 1.0), "c")
        gone += [] if is_recent else [other]
        report = cleanup(database, timedelta(days=30), 1, callers=CALLERS)
        assert (sorted(report.job_ids), report.kept_best) == (sorted(gone), 1)
        board = {one.job_id: one.failed_runs for one in history.leaderboard("p")}
        assert board == {lucky: len(doubts)} | ({other: 0} if is_recent else {})

    def test_nobody_pushes_out_the_best_of_another(
        self, repository: Repository, database: Database, history: History
    ) -> None:
        mine = judged(repository, passed(mean_ms=2.0), "honest", "p", uid=1000)
        theirs = [judged(repository, passed(mean_ms=0.1), f"k{number}", "p", uid=1001) for number in range(3)]
        assert cleanup(database, timedelta(0), 1).kept_best == 2
        left = {job.job_id for job in history.jobs().jobs}
        assert (mine in left, len(left.intersection(theirs))) == (True, 1)

    def test_over_http_nobody_pushes_out_the_best_of_another(
        self, repository: Repository, database: Database, history: History
    ) -> None:
        mine = judged(repository, passed(mean_ms=2.0), "honest", "p", caller="mine")
        theirs = [judged(repository, passed(mean_ms=0.1), f"k{number}", "p", caller="other") for number in range(3)]
        assert cleanup(database, timedelta(0), 1, callers=CALLERS).kept_best == 2
        left = {job.job_id for job in history.jobs().jobs}
        assert (mine in left, len(left.intersection(theirs))) == (True, 1)

    def test_broken_jobs_go_too_and_batches_add_up(self, repository: Repository, database: Database) -> None:
        ids = []
        for _ in range(3):
            job = new_job(job_id=uuid.uuid4().hex)
            repository.register(job)
            lease = repository.lease(job.job_id, "me", 60)
            assert lease is not None
            Repository(database, max_attempts=1).retry(lease, "why")
            set_times(database, job.job_id, finished=datetime(2020, 1, 1, tzinfo=UTC))
            ids.append(job.job_id)
        assert set(cleanup(database, timedelta(0), 5).job_ids) == set(ids)

    def test_withdrawn_jobs_go_when_nothing_waits_under_their_id_and_nothing_happened_for_long(
        self, repository: Repository, database: Database, history: History, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(repository_cleanup, "DELETE_BATCH", 2)
        jobs = [new_job(job_id=uuid.uuid4().hex) for _ in range(6)]
        for job in jobs:
            repository.register(job)
        queued, waiting, *left = [job.job_id for job in jobs]
        for job_id in (waiting, *left):
            repository.withdraw(job_id)
        assert forget_withdrawn(database, timedelta(hours=1), {waiting}) == ()
        assert set(forget_withdrawn(database, timedelta(0), {waiting}, dry_run=True)) == set(left)
        assert set(forget_withdrawn(database, timedelta(0), {waiting})) == set(left)
        assert {job.job_id for job in history.jobs().jobs} == {queued, waiting}
        assert repository.register(jobs[2]), "a claim makes it anew"

    def test_a_withdrawn_job_to_which_something_happened_lately_stays_whatever_happens_to_others(
        self, repository: Repository, database: Database, history: History
    ) -> None:
        old, lately = (new_job(job_id=uuid.uuid4().hex) for _ in range(2))
        for job in (old, lately):
            repository.register(job)
            repository.withdraw(job.job_id)
            set_times(database, job.job_id, created=datetime(2020, 1, 1, tzinfo=UTC))
        with database.write() as connection:
            its_events = update(Event).where(Event.job_id == old.job_id)
            connection.execute(its_events.values(at=datetime(2020, 1, 1, tzinfo=UTC)))
        assert forget_withdrawn(database, timedelta(hours=1), ()) == (old.job_id,)
        assert history.job(lately.job_id) is not None


def test_a_question_imports_neither_alembic_nor_torch() -> None:
    code = "import sys, daemon.db.history; print({'alembic', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "set()"


def test_the_room_itself_imports_no_sqlalchemy() -> None:
    code = "import sys, daemon.db, daemon.db.records; print('sqlalchemy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == "False"
