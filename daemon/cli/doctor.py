"""`evald doctor`: is this machine fit to judge, and what to type where it is not."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from daemon.cli import commands_to_type, screen
from daemon.cli.options import json_option, settings_options

if TYPE_CHECKING:
    from daemon.cli.check import Check
    from daemon.layers import LoadedSettings

_ITSELF = re.compile(r"evald doctor(?: checks the database)?(?:; (?:or )?|$)")


@click.command("doctor")
@settings_options("isolation", "device", "gpus", "backend_paths")
@json_option
def command(*, loaded: LoadedSettings, as_json: bool) -> int:
    """Check Python, packages, compilers, folders, disk, database and the sandbox; a real cell is started.

    Every line is ok, warn (works, but weaker or slower) or FAIL (cannot judge), with what to type. Exit code 0, or 2
    when a check failed. As when a daemon starts, cgroups are made for cells, which may move this shell into another.
    """
    from daemon.cli.check import Status
    from daemon.cli.checks import all_checks

    found = []
    for looked_at in all_checks(loaded):
        check = _without_itself(looked_at)
        found.append(check)
        if not as_json:
            _show(check)
    failed = sum(check.status is Status.FAIL for check in found)
    if as_json:
        screen.document({"ok": not failed, "checks": [_as_document(check) for check in found]})
    elif failed:
        screen.say(f"\n{failed} of {len(found)} checks failed: evald cannot judge here yet")
    return 2 if failed else 0


def _without_itself(check: Check) -> Check:
    """Errors whose hint is `evald doctor` have no hint here: whoever runs the doctor is not sent to it again."""
    return check if check.hint is None else replace(check, hint=_ITSELF.sub("", check.hint, count=1) or None)


def _as_document(check: Check) -> dict[str, Any]:
    hint = commands_to_type.here(check.hint) if check.hint else check.hint
    return {**vars(check), "status": str(check.status), "hint": hint}


def _show(check: Check) -> None:
    from daemon.cli.check import Status

    style = {Status.OK: "green", Status.WARN: "yellow", Status.FAIL: "bold red"}[check.status]
    text = f"{check.status:<4}  {check.name:<17}  {check.message}"
    screen.marked(text, len(check.status), style)
    if check.hint and check.status is not Status.OK:
        screen.line(f"{'':25}{commands_to_type.here(check.hint)}")
