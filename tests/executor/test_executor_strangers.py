"""Who else is at work on a GPU: real processes, and what NVML might say of them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from daemon.executor.timing import strangers

US, PARENT = os.getpid(), os.getppid()


@dataclass
class Told:
    """`active` grows by one of `later` at every look."""

    contexts: set[int]
    active: set[int] | None
    later: tuple[int, ...] = ()

    def with_context(self) -> frozenset[int]:
        return frozenset(self.contexts)

    def active_since(self, since_s: float) -> frozenset[int] | None:
        if self.active is None:
            return None
        seen = frozenset(self.active)
        self.active |= set(self.later[:1])
        self.later = self.later[1:]
        return seen


@pytest.fixture
def grandchild() -> Iterator[int]:
    """A process whose parent is a child of this one."""
    shell = subprocess.Popen(["/bin/sh", "-c", "sleep 1000 & echo $!; wait"], stdout=subprocess.PIPE, text=True)
    assert shell.stdout is not None
    pid = int(shell.stdout.readline())
    yield pid
    os.kill(pid, 9)
    shell.wait()


def test_whoever_descends_from_the_judge_is_no_stranger(grandchild: int) -> None:
    assert strangers.at_work(Told({US, grandchild}, {US, grandchild}), 0.0) is None


def test_a_process_of_others_that_worked_is_named(grandchild: int) -> None:
    assert strangers.at_work(Told({US, PARENT, grandchild}, {grandchild, PARENT}), 0.0) == PARENT


def test_it_is_named_when_nvml_tells_of_it_only_a_while_later() -> None:
    assert strangers.at_work(Told({US, PARENT}, set(), later=(PARENT,)), 0.0, within_s=60) == PARENT


def test_one_that_only_has_a_context_did_not_work() -> None:
    assert strangers.at_work(Told({US, PARENT}, {US}), 0.0) is None


def test_where_nvml_does_not_say_who_worked_whoever_is_there_may_have() -> None:
    assert strangers.at_work(Told({US, PARENT}, None), 0.0) == PARENT


def test_pids_of_another_namespace_say_nothing() -> None:
    assert strangers.at_work(Told({PARENT}, {PARENT}), 0.0) is None


def test_a_process_that_is_gone_is_nobody() -> None:
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    assert strangers.at_work(Told({US, gone.pid}, {gone.pid}), 0.0) is None
