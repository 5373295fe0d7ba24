"""Who looks for something in `daemon/` is told where it is by the `__init__` of each folder, and can read what it rests
on before it."""

from __future__ import annotations

import graphlib
import importlib
import re

import grimp
import pytest

IMPORTS = grimp.build_graph("daemon")
# No rooms: another name of the command line, and what is put into a package from elsewhere.
ELSEWHERE = {"daemon.__main__", "daemon.migrations", "daemon.systemd"}
BY_FILES = "daemon.executor.backends"  # says what a file there is; their names are the kernel types'


def folders() -> list[str]:
    found = [name for name in IMPORTS.modules if IMPORTS.find_children(name)]
    return sorted(name for name in found if name != BY_FILES and not name.startswith("daemon.migrations"))


@pytest.mark.parametrize("folder", folders())
def test_a_folder_says_once_of_each_of_its_modules_what_it_is(folder: str) -> None:
    text = importlib.import_module(folder).__doc__ or ""
    names = re.findall(r"^ *([a-z_]+(?:, [a-z_]+)*)  +\S", text, re.MULTILINE)
    modules = {name.removeprefix(f"{folder}.") for name in IMPORTS.find_children(folder) - ELSEWHERE}
    assert sorted(", ".join(names).split(", ")) == sorted(modules)


def test_no_module_imports_itself_through_others() -> None:
    needed = {name: IMPORTS.find_modules_directly_imported_by(name) for name in IMPORTS.modules}
    order = list(graphlib.TopologicalSorter(needed).static_order())  # raises `CycleError`, which names them
    assert order.index("daemon.errors") < order.index("daemon.service")
