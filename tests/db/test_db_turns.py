"""Submitters take turns at equal priority, on SQLite and Postgres."""

from __future__ import annotations

import uuid

from db_examples import new_job

from daemon.callers import NOBODY, TAG_DIGITS, Callers, tag_of
from daemon.db.history import History
from daemon.db.records import Description
from daemon.db.repository import Repository
from daemon.scheduler.turns import Turns


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
    """The tag of one that another user has chosen for his bundles, and one that is nobody's, is none."""
    callers = Callers({tag_of(name): name for name in ("anna", "bert")}, 1)
    sent = [("a1", 1, "anna"), ("a2", 1, "anna"), ("a3", 1, "anna"), ("b1", 1, "bert"), ("c1", 1, "nobody")]
    sent += [("c2", 1, "no one"), ("d1", 2, "anna"), ("d2", 2, "bert"), ("e1", None, "anna")]
    for name, uid, tagged in sent:
        job_id = uuid.uuid4().hex[:-TAG_DIGITS] + tag_of(tagged)
        repository.register(new_job(name, submitter_uid=uid, job_id=job_id))
    assert served_in_turn(repository, callers) == ["a1", "b1", "c1", "d1", "e1", "a2", "c2", "d2", "a3"]


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
    assert history.unfinished_by_submitter() == {1: 2, 2: 1, None: 1}
    assert history.unfinished() == 4
    repository.withdraw(lease)
    assert history.unfinished_by_submitter() == {1: 1, 2: 1, None: 1}


def test_the_oldest_can_be_asked_for_whatever_its_priority(repository: Repository) -> None:
    for name, priority in (("old and low", -5), ("new and high", 50)):
        repository.register(new_job(name, priority=priority))
    lease = repository.lease_next("me", 60, oldest=True)
    assert lease is not None
    assert lease.name == "old and low"
