"""Submitters take turns at equal priority, on SQLite and Postgres."""

from __future__ import annotations

import uuid

from db_examples import new_job

from daemon.callers import NOBODY, TAG_DIGITS, Callers, tag_of
from daemon.db.history import History
from daemon.db.records import Description
from daemon.db.repository import Repository
from daemon.scheduler.turns import Turns

CALLERS = Callers({tag_of(name): name for name in ("anna", "bert")}, 1)
# A tag that another user has chosen for his bundles is none, nor is one that is nobody's.
SENT = [
    (name, uid, uuid.uuid4().hex[:-TAG_DIGITS] + tag_of(tagged))
    for name, uid, tagged in (
        ("a1", 1, "anna"),
        ("a2", 1, "anna"),
        ("a3", 1, "anna"),
        ("b1", 1, "bert"),
        ("c1", 1, "nobody"),
        ("c2", 1, "no one"),
        ("d1", 2, "anna"),
        ("d2", 2, "bert"),
        ("e1", None, "anna"),
    )
]


def served_in_turn(repository: Repository, callers: Callers = NOBODY) -> list[str]:
    turns, names = Turns(), []
    while (lease := repository.lease_next("me", 60, turns.order, callers=callers)) is not None:
        turns.served(callers.sender(lease.job_id, lease.submitter_uid))
        names.append(lease.name)
    return names


def test_submitters_are_served_in_turn_and_each_in_the_order_of_its_bundles(repository: Repository) -> None:
    for name, uid in (("a1", 1), ("a2", 1), ("a3", 1), ("b1", 2), ("b2", 2), ("c1", None)):
        repository.register(new_job(name, submitter_uid=uid))
    assert served_in_turn(repository) == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_callers_over_http_are_served_in_turn_although_one_user_drops_it_all(repository: Repository) -> None:
    for name, uid, job_id in SENT:
        repository.register(new_job(name, submitter_uid=uid, job_id=job_id))
    assert served_in_turn(repository, CALLERS) == ["a1", "b1", "c1", "d1", "e1", "a2", "c2", "d2", "a3"]


def test_priority_stands_above_turns(repository: Repository) -> None:
    for name, uid, priority in (("a1", 1, 0), ("a2", 1, 5), ("a3", 1, 5), ("b1", 2, 0)):
        job = new_job(name, submitter_uid=uid)
        repository.register(job)
        repository.describe(job.job_id, Description(kind="evaluate", kernel_type="torch", priority=priority))
    assert served_in_turn(repository) == ["a2", "a3", "b1", "a1"]


def test_unfinished_bundles_are_counted_by_submitter(repository: Repository, history: History) -> None:
    assert history.unfinished_by_submitter() == {}
    for uid in (1, 1, 2, None):
        repository.register(new_job(submitter_uid=uid))
    lease = repository.lease_next("me", 60)
    assert lease is not None
    assert history.unfinished_by_submitter() == {(1, ""): 2, (2, ""): 1, (None, ""): 1}
    assert history.unfinished() == 4
    repository.withdraw(lease)
    assert history.unfinished_by_submitter() == {(1, ""): 1, (2, ""): 1, (None, ""): 1}


def test_unfinished_bundles_of_callers_over_http_are_counted_for_each_of_them(
    repository: Repository, history: History
) -> None:
    """As they take turns."""
    for _, uid, job_id in SENT:
        repository.register(new_job(submitter_uid=uid, job_id=job_id))
    anna, bert = ((1, tag_of(name)) for name in ("anna", "bert"))
    expected = {anna: 3, bert: 1, (1, ""): 2, (2, ""): 2, (None, ""): 1}
    assert history.unfinished_by_submitter(CALLERS) == expected


def test_one_caller_over_http_can_be_passed_over_without_the_others(repository: Repository) -> None:
    for name, uid, job_id in SENT:
        repository.register(new_job(name, submitter_uid=uid, job_id=job_id))
    names = []
    left_alone = [(1, tag_of("anna")), (1, ""), (2, tag_of("bert")), (None, tag_of("anna"))]
    while (lease := repository.lease_next("me", 60, callers=CALLERS, not_of=left_alone)) is not None:
        names.append(lease.name)
    assert sorted(names) == ["b1", "d1", "d2", "e1"], "and who is nobody's caller is not passed over with one"


def test_the_oldest_can_be_asked_for_whatever_its_priority(repository: Repository) -> None:
    for name, priority in (("old and low", -5), ("new and high", 50)):
        repository.register(new_job(name, priority=priority))
    lease = repository.lease_next("me", 60, oldest=True)
    assert lease is not None
    assert lease.name == "old and low"
