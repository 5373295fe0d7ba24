"""The two sides of the executor: what runs beside a bundle's code, and what judges it, share a few plain modules."""

from __future__ import annotations

import functools
import re

import grimp

from daemon import executor

EXECUTOR = "daemon.executor"
IN_CELLS = ("cell", "under_tool", "zygote")  # programs, beside every backend: they are loaded by name
TRUSTED = ("judge", "builder", "local", "smoke_test", "rehearsal")
SHARED = {"driver", "layout", "misfits", "protocol", "tree"}
OF_EVERY_PROCESS = {"start", "sandbox.confine", "sandbox.seccomp"}


@functools.cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("daemon")


def modules() -> set[str]:
    """Every module of the executor; packages that hold nothing themselves are none."""
    found = imports().find_descendants(EXECUTOR)
    return {name.removeprefix(f"{EXECUTOR}.") for name in found if not imports().find_children(name)}


def needed_by(*programs: str) -> set[str]:
    """The modules of the executor that these import, and what those import in turn, with themselves."""
    names = {f"{EXECUTOR}.{program}" for program in programs}
    found = names.union(*(imports().find_upstream_modules(name) for name in names))
    return {name.removeprefix(f"{EXECUTOR}.") for name in found} & modules()


def in_cells() -> set[str]:
    return needed_by(*IN_CELLS, *(name for name in modules() if name.startswith("backends.")))


def test_what_judges_and_what_runs_beside_a_bundle_share_plain_modules_only() -> None:
    assert needed_by(*TRUSTED) & in_cells() == SHARED


def test_every_module_is_on_one_of_the_two_sides() -> None:
    assert modules() - needed_by(*TRUSTED) - in_cells() == OF_EVERY_PROCESS - in_cells()


def test_the_map_of_the_room_has_every_module_once() -> None:
    names = re.findall(r"^    ([a-z_]+(?:, [a-z_]+)*)  +\S", executor.__doc__ or "", re.MULTILINE)
    assert sorted(", ".join(names).split(", ")) == sorted(name for name in modules() if "." not in name)


def test_cells_know_nothing_of_the_rest_of_evald() -> None:
    outside = {
        name
        for module in in_cells()
        for name in imports().find_upstream_modules(f"{EXECUTOR}.{module}")
        if not name.startswith(f"{EXECUTOR}.") and name not in (EXECUTOR, "daemon")
    }
    assert outside == set()


def test_nothing_of_the_rest_of_evald_needs_what_runs_in_cells() -> None:
    of_evald = {name for name in imports().modules if not name.startswith(EXECUTOR)}
    needed = of_evald.union(*(imports().find_upstream_modules(name) for name in of_evald))
    private = in_cells() - SHARED - OF_EVERY_PROCESS
    assert {name for name in private if f"{EXECUTOR}.{name}" in needed} == set()
