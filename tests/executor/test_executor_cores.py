"""Which processors a timed round runs on."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from daemon.executor.host.processes import PlainProgram
from daemon.executor.timing.cores import Lane, beside_lanes, cores_here, kept_to, lane_of, parse_list

SIXTEEN = [[number] for number in range(16)]
EIGHT_OF_TWO = [[number, number + 8] for number in range(8)]


def test_lanes_are_taken_from_the_end_and_share_no_core() -> None:
    assert lane_of(0, SIXTEEN) == Lane(judge=15, cells=14)
    assert lane_of(1, SIXTEEN) == Lane(judge=13, cells=12)
    assert lane_of(0, EIGHT_OF_TWO) == Lane(judge=7, cells=6)


@pytest.mark.parametrize(("slot", "cores"), [(0, 1), (0, 2), (0, 3), (1, 4), (7, 16)])
def test_two_cores_are_left_to_everybody_else(slot: int, cores: int) -> None:
    assert lane_of(slot, SIXTEEN[:cores]) is None


def test_the_last_slot_that_has_a_lane_leaves_the_first_cores() -> None:
    assert lane_of(6, SIXTEEN) == Lane(judge=3, cells=2)


@pytest.mark.parametrize(
    ("slots", "cores", "left"),
    [
        (0, SIXTEEN, {*range(16)}),
        (1, SIXTEEN, {*range(14)}),
        (2, EIGHT_OF_TWO, {0, 1, 2, 3, 8, 9, 10, 11}),
        (9, SIXTEEN, {0, 1}),
        (1, SIXTEEN[:3], {0, 1, 2}),
    ],
)
def test_who_builds_is_on_no_core_of_a_lane(slots: int, cores: list[list[int]], left: set[int]) -> None:
    assert beside_lanes(slots, cores) == left


@pytest.mark.parametrize(
    ("text", "numbers"), [("0\n", {0}), ("0-3,8\n", {0, 1, 2, 3, 8}), ("2,10", {2, 10}), ("0-1,4-5", {0, 1, 4, 5})]
)
def test_linuxs_lists_of_processors(text: str, numbers: set[int]) -> None:
    assert parse_list(text) == numbers


def test_every_processor_of_this_process_is_in_one_core() -> None:
    found = [number for core in cores_here() for number in core]
    assert sorted(found) == sorted(os.sched_getaffinity(0))


class Holder:
    """As much of a cell as is asked for its processors."""

    def __init__(self, program: PlainProgram) -> None:
        self.program = program


def test_judge_and_cell_are_where_they_belong_and_the_judge_is_set_free_again() -> None:
    before = os.sched_getaffinity(0)
    lane = Lane(judge=min(before), cells=max(before))
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    cell = Holder(PlainProgram(process))
    try:
        with kept_to(lane, [cell]):  # type: ignore[list-item]
            assert os.sched_getaffinity(0) == {lane.judge}
            assert os.sched_getaffinity(process.pid) == {lane.cells}
        assert os.sched_getaffinity(0) == before
    finally:
        cell.program.kill()


def test_a_cell_that_has_died_is_no_reason_to_stop() -> None:
    process = subprocess.Popen(["true"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    process.wait()
    cell = Holder(PlainProgram(process))
    with kept_to(Lane(min(os.sched_getaffinity(0)), 0), [cell]):  # type: ignore[list-item]
        time.sleep(0)
    cell.program.kill()


def test_without_a_lane_nothing_moves() -> None:
    before = os.sched_getaffinity(0)
    with kept_to(None, []):
        assert os.sched_getaffinity(0) == before
