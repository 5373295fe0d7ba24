"""The two sides of the executor: what runs beside a bundle's code, and what judges it, share a few plain modules. That
nothing else imports what runs there, import-linter holds (setup.cfg)."""

from __future__ import annotations

import functools

import grimp

EXECUTOR = "daemon.executor"
BESIDE_A_BUNDLE = ("inside", "backends", "source")


@functools.cache
def imports() -> grimp.ImportGraph:
    return grimp.build_graph("daemon")


def is_in(name: str, *places: str) -> bool:
    return any(f"{name}.".startswith(f"{EXECUTOR}.{place}.") for place in places)


def test_what_runs_beside_a_bundle_and_what_it_shares_with_the_judge_import_nothing_else_of_evald() -> None:
    shared = {name for name in imports().modules if is_in(name, "shared")}
    beside = {name for name in imports().modules if is_in(name, *BESIDE_A_BUNDLE)}
    for modules, places in ((shared, ("shared",)), (beside, ("shared", *BESIDE_A_BUNDLE))):
        needed = modules.union(*(imports().find_modules_directly_imported_by(name) for name in modules))
        of_evald = {name for name in needed if name.startswith("daemon.")}
        assert {name for name in of_evald if not is_in(name, *places)} == set()
