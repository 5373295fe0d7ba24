"""What a cell's group is told, in either kind of tree: on a host there is only one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemon.executor.sandbox.cell_group import V1Group, V2Group
from daemon.executor.sandbox.policy import CellLimits

LIMITS = CellLimits(
    memory_bytes=1 << 30,
    processes=200,
    open_files=1,
    file_bytes=1,
    tmp_bytes=1,
    tmp_inodes=1,
    cpu_cores=1.5,
    background=True,
    processors=(0, 2),
)
WITHOUT = CellLimits(memory_bytes=1 << 30, processes=200, open_files=1, file_bytes=1, tmp_bytes=1, tmp_inodes=1)
V2 = {
    "memory.max": "1073741824",
    "memory.swap.max": "0",
    "pids.max": "200",
    "cpu.weight": "1",
    "cpu.max": "150000 100000",
    "cpuset.cpus": "0,2",
}
V1 = {
    "memory/memory.limit_in_bytes": "1073741824",
    "memory/memory.memsw.limit_in_bytes": "1073741824",
    "pids/pids.max": "200",
    "cpu/cpu.shares": "2",
    "cpu/cpu.cfs_period_us": "100000",
    "cpu/cpu.cfs_quota_us": "150000",
    "cpuset/cpuset.sched_load_balance": "0",
    "cpuset/cpuset.mems": "0",
    "cpuset/cpuset.cpus": "0,2",
}
OF_SWAP = ("memory.swap.max", "memory.memsw.limit_in_bytes")
ONLY_IF_WANTED = ("cpu.", "cpuset.")


@pytest.fixture(autouse=True)
def _counting_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the kernel, make the files of swap with each group."""
    mkdir = Path.mkdir

    def made(folder: Path, *given: Any, **named: Any) -> None:
        mkdir(folder, *given, **named)
        for name in OF_SWAP if folder.name == "cell" else ():
            (folder / name).touch()

    monkeypatch.setattr(Path, "mkdir", made)


def told(folder: Path) -> dict[str, str]:
    """The files below it that say something, without the name of the cell."""
    found = {
        path: path.read_text("ascii") for path in folder.rglob("*") if path.is_file() and path.parent.name == "cell"
    }
    return {str(path.relative_to(folder)).replace("cell/", ""): text for path, text in found.items() if text}


def first_tree(folder: Path, *controllers: str) -> dict[str, Path]:
    bases = {name: folder / name for name in controllers}
    for base in bases.values():
        base.mkdir()
    if "cpuset" in bases:
        (bases["cpuset"] / "cpuset.mems").write_text("0", "ascii")
    return bases


def test_in_one_tree_every_limit_is_written(tmp_path: Path) -> None:
    bases = dict.fromkeys(("memory", "pids", "cpu", "cpuset", "freezer"), tmp_path)
    group = V2Group(bases, "cell", LIMITS)
    assert told(tmp_path) == V2
    group.add(4711)
    assert told(tmp_path) == V2 | {"cgroup.procs": "4711"}


def test_in_a_tree_for_each_controller_every_limit_is_written(tmp_path: Path) -> None:
    bases = first_tree(tmp_path, "memory", "pids", "cpu", "cpuset")
    group = V1Group(bases, "cell", LIMITS)
    assert told(tmp_path) == V1
    group.add(4711)
    assert told(tmp_path) == V1 | {f"{name}/cgroup.procs": "4711" for name in bases}


def test_what_is_not_limited_is_not_written(tmp_path: Path) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    for folder in (one, many):
        folder.mkdir()
    V2Group(dict.fromkeys(("memory", "pids", "cpu", "cpuset", "freezer"), one), "cell", WITHOUT)
    V1Group(first_tree(many, "memory", "pids", "cpu", "cpuset"), "cell", WITHOUT)
    assert told(one) == {name: text for name, text in V2.items() if not name.startswith(ONLY_IF_WANTED)}
    assert told(many) == {
        name: text for name, text in V1.items() if not name.partition("/")[2].startswith(ONLY_IF_WANTED)
    }


@pytest.mark.parametrize("controller", ["memory", "pids", "cpu", "cpuset"])
def test_a_controller_that_is_missing_is_left_alone(tmp_path: Path, controller: str) -> None:
    """The others limit all the same."""
    there = [name for name in ("memory", "pids", "cpu", "cpuset") if name != controller]
    one, many = tmp_path / "one", tmp_path / "many"
    for folder in (one, many):
        folder.mkdir()
    V2Group(dict.fromkeys([*there, "freezer"], one), "cell", LIMITS)
    V1Group(first_tree(many, *there), "cell", LIMITS)
    assert told(one) == {name: text for name, text in V2.items() if not name.startswith(f"{controller}.")}
    assert told(many) == {name: text for name, text in V1.items() if not name.startswith(f"{controller}/")}


def test_what_the_kernel_has_counted_of_a_cell_in_one_tree_is_read(tmp_path: Path) -> None:
    group = V2Group(dict.fromkeys(("memory", "pids", "freezer"), tmp_path), "cell", LIMITS)
    folder = tmp_path / "cell"
    (folder / "memory.stat").write_text("anon 100\nfile 5000\nkernel 70\nshmem 30\n", "ascii")
    (folder / "memory.peak").write_text("1000\n", "ascii")
    for oom, kills, refused in ((0, 0, 0), (0, 1, 0), (2, 2, 3)):
        (folder / "memory.events").write_text(f"low 0\nmax 9\noom {oom}\noom_kill {kills}\n", "ascii")
        (folder / "pids.events").write_text(f"max {refused}\n", "ascii")
        assert (group.oom_killed(), group.wanted_too_much()) == (kills > 0, oom > 0)
        assert (group.memory_bytes(), group.processes_refused()) == (130, refused)
    (folder / "memory.events").write_text("oom 0\noom_kill 1\n", "ascii")
    (folder / "memory.peak").write_text(f"{LIMITS.memory_bytes}\n", "ascii")
    assert group.wanted_too_much(), "it was at its limit"
    (folder / "memory.peak").unlink()
    assert group.wanted_too_much(), "an older kernel does not tell"


def test_where_nothing_is_counted_nothing_is_said_of_a_cell(tmp_path: Path) -> None:
    group = V2Group({"freezer": tmp_path}, "cell", LIMITS)
    for name in ("memory.events", "memory.stat", "pids.events"):
        (tmp_path / "cell" / name).write_text("oom_kill 1\nanon 1\nshmem 1\nmax 1\n", "ascii")
    assert (group.oom_killed(), group.processes_refused(), group.memory_bytes()) == (False, 0, None)
