"""`evald validate`: everything that is wrong with bundles, without running them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from daemon.cli import screen
from daemon.cli.complete import files
from daemon.cli.options import json_option, settings_options
from daemon.cli.screen import Styled
from daemon.errors import BundleError, LostClaim, OperatorError, Problem

if TYPE_CHECKING:
    from daemon.config import Settings
    from daemon.errors import EvaldError, Problem
    from daemon.layers import LoadedSettings


@click.command("validate")
@settings_options("backend_paths")
@json_option
@click.argument("paths", nargs=-1, required=True, shell_complete=files)
def command(*, loaded: LoadedSettings, as_json: bool, paths: tuple[str, ...]) -> int:
    """List every problem of the bundles at PATHS: file, field, what is wrong, and what was probably meant.

    Nothing of a bundle is run. A - is a contract with its sources inline, on stdin. Exit code 0: no problems. 2: some;
    warnings alone are no problem.
    """
    found = [_examine(path, loaded.settings) for path in paths]
    valid = all(one["valid"] for one in found)
    if as_json:
        screen.document({"valid": valid, "bundles": found})
    else:
        for one in found:
            _show(one)
    return 0 if valid else 2


def _examine(path: str, settings: Settings) -> dict[str, Any]:
    """One bundle as --json shows it."""
    from daemon.cli import bundles
    from daemon.executor.host import scratch

    try:
        place = bundles.existing(path)
        with scratch.folder("bundle") as folder:
            parsed = bundles.read(place, folder, settings).parsed
    except BundleError as error:
        return _found(path, problems=error.problems)
    except (OperatorError, LostClaim) as error:
        return _found(path, fault=error)
    request = parsed.request
    kernels = [kernel for kernel in (request.candidate, request.reference) if kernel is not None]
    return _found(path, warnings=parsed.warnings) | {
        "name": request.name or bundles.dropped_name(place),
        "kind": request.kind,
        "kernel_types": [kernel.kernel_type for kernel in kernels],
        "cases": [case.name for case in request.cases],
        "source_sha256": parsed.source_sha256,
        "contract_sha256": parsed.contract_sha256,
    }


def _found(
    path: str,
    *,
    problems: tuple[Problem, ...] = (),
    warnings: tuple[Problem, ...] = (),
    fault: EvaldError | None = None,
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "path": path,
        "valid": not problems and fault is None,
        "problems": [vars(problem) for problem in problems],
        "warnings": [vars(warning) for warning in warnings],
    }
    return found if fault is None else found | {"error": fault.message, "hint": fault.hint}


def _show(found: dict[str, Any]) -> None:
    if found["valid"]:
        kernels = " against ".join(found["kernel_types"])
        count = len(found["cases"])
        cases = f", {count} cases" if count > 1 else ""
        screen.line(Styled(f"{found['path']}: ok ({found['kind']}: {kernels}{cases})", "green"))
    elif "error" in found:
        screen.line(Styled(f"{found['path']}: {found['error']}", "red"))
        if found["hint"]:
            screen.line(f"  {found['hint']}")
    else:
        count = len(found["problems"])
        screen.line(Styled(f"{found['path']}: {count} problem{'s' if count > 1 else ''}", "red"))
    for problem in found["problems"]:
        screen.line(f"  {_sentence(problem)}")
    for warning in found["warnings"]:
        screen.line(f"  warning: {_sentence(warning)}")


def _sentence(problem: dict[str, Any]) -> str:
    return str(Problem(**problem))
