"""The two sides of the executor: what runs beside a bundle's code, and what judges it, share a few plain modules. That
nothing else imports what runs there, import-linter holds (setup.cfg)."""

from __future__ import annotations

import functools
import importlib
import re

import grimp
import pytest

EXECUTOR = "daemon.executor"
BESIDE_A_BUNDLE = ("inside", "backends", "source")
BY_FILES = ("backends",)  # whose `__init__` says what a file there is; their names are the kernel types'


@functools.cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("daemon")


def folders() -> list[str]:
    """The executor itself, and its packages."""
    found = imports().find_children(EXECUTOR)
    return [EXECUTOR, *sorted(name for name in found if imports().find_children(name))]


def is_in(name: str, *places: str) -> bool:
    return any(f"{name}.".startswith(f"{EXECUTOR}.{place}.") for place in places)


def test_what_runs_beside_a_bundle_and_what_it_shares_with_the_judge_import_nothing_else_of_evald() -> None:
    shared = {name for name in imports().modules if is_in(name, "shared")}
    beside = {name for name in imports().modules if is_in(name, *BESIDE_A_BUNDLE)}
    for modules, places in ((shared, ("shared",)), (beside, ("shared", *BESIDE_A_BUNDLE))):
        needed = modules.union(*(imports().find_modules_directly_imported_by(name) for name in modules))
        of_evald = {name for name in needed if name.startswith("daemon.")}
        assert {name for name in of_evald if not is_in(name, *places)} == set()


@pytest.mark.parametrize("folder", [name for name in folders() if not is_in(name, *BY_FILES)])
def test_a_folder_says_once_of_each_of_its_modules_what_it_is(folder: str) -> None:
    text = importlib.import_module(folder).__doc__ or ""
    names = re.findall(r"^ *([a-z_]+(?:, [a-z_]+)*)  +\S", text, re.MULTILINE)
    modules = {name.removeprefix(f"{folder}.") for name in imports().find_children(folder)}
    assert sorted(", ".join(names).split(", ")) == sorted(modules)
