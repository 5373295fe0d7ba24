"""Which processors a timed round runs on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from daemon.config import Settings
from daemon.executor.host.devices import CPU, Device
from daemon.executor.host.processes import PlainProgram
from daemon.executor.programs import confinement
from daemon.executor.sandbox import cgroup
from daemon.executor.sandbox.cell_group import CellGroup, V2Group
from daemon.executor.sandbox.policy import CellLimits, UidStep
from daemon.executor.timing.cores import Lane, beside_lanes, cores_here, kept_to, lane_of, of_cells, parse_list

LIMITS = CellLimits(1 << 30, processes=8, open_files=64, file_bytes=1 << 20, tmp_bytes=1 << 20, tmp_inodes=100)
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
    ("slot", "slots", "cores", "theirs"),
    [
        (0, 1, SIXTEEN, {*range(15)}),
        (0, 2, SIXTEEN, {*range(12), 14}),
        (1, 2, SIXTEEN, {*range(13)}),
        (1, 2, EIGHT_OF_TWO, {0, 1, 2, 3, 8, 9, 10, 11, 4, 12}),
        (7, 8, SIXTEEN, set()),
    ],
)
def test_cells_are_on_no_core_of_another_lane_nor_of_their_judge(
    slot: int, slots: int, cores: list[list[int]], theirs: set[int]
) -> None:
    assert of_cells(slot, slots, cores) == theirs


def _child_in(group: CellGroup, wanted: set[int]) -> set[int]:
    """The processors of a member that has asked for `wanted`, which is not granted."""
    gate, opener = os.pipe()
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.read(gate, 1)
            with suppress(OSError):
                os.sched_setaffinity(0, wanted)
            os.write(tell, ",".join(map(str, os.sched_getaffinity(0))).encode())
        finally:
            os._exit(0)
    try:
        group.add(pid)
        os.write(opener, b"!")
        return parse_list(os.read(told, 1000).decode())
    finally:
        os.waitpid(pid, 0)
        for fd in (gate, opener, told, tell):
            os.close(fd)


def test_a_cell_cannot_go_to_a_processor_that_its_cgroup_has_not() -> None:
    groups, here = cgroup.find(), sorted(os.sched_getaffinity(0))
    if groups is None or "cpuset" not in groups.bases or len(here) < 2:
        pytest.skip("no cgroup of processors here, or one processor")
    for number, processors in enumerate([tuple(here[:1]), ()]):
        group = groups.create(456_000 + number, replace(LIMITS, processors=processors))
        try:
            found = _child_in(group, {here[1]})
        finally:
            group.remove()
        assert found == ({here[0]} if processors else {here[1]})


def test_in_one_tree_a_cell_has_the_processors_of_its_slot(tmp_path: Path) -> None:
    V2Group({"cpuset": tmp_path}, "one", replace(LIMITS, processors=(0, 2, 3)))
    assert (tmp_path / "one" / "cpuset.cpus").read_text("ascii") == "0,2,3"
    V2Group({"cpuset": tmp_path}, "two", LIMITS)
    assert not (tmp_path / "two" / "cpuset.cpus").exists()


def test_the_cells_of_a_gpu_have_the_processors_of_their_slot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(confinement, "cores_here", lambda: SIXTEEN)
    settings = Settings(home=tmp_path, isolation="none")
    gpu = Device(index=1, kind="cuda", name="NVIDIA H200", uuid="GPU-1")
    for device, processors in ((gpu, (*range(13),)), (CPU, ())):
        cells = confinement.Confinement(settings, 1, device, slots=2).cells(UidStep.CANDIDATE)
        assert cells.settings.limits.processors == processors


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
