"""`evald submit`: drop bundles into the inbox, and wait for their results."""

from __future__ import annotations

import math
import shlex
import signal
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from daemon.cli import failing, interrupt, judging, outcome, screen
from daemon.cli.commands_to_type import here
from daemon.cli.complete import files
from daemon.cli.failing import COULD_NOT, INTERRUPTED, as_document
from daemon.cli.options import json_option, settings_options
from daemon.cli.outcome import COLUMNS
from daemon.errors import BundleError, EvaldError, HarnessError, LostClaim, OperatorError

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from daemon.cli.outcome import Line
    from daemon.config import Settings
    from daemon.errors import Problem
    from daemon.intake.submit import Dropped
    from daemon.layers import LoadedSettings
    from daemon.paths import Paths

_HOME_S = 10.0
_STARTING_S = 600.0  # a process that has made no folder by then hangs
_PAUSE_S = 0.5


@click.command("submit")
@settings_options()
@click.option("--wait", is_flag=True, help="Wait until every bundle has its result.")
@click.option(
    "--timeout", type=click.FloatRange(min=0), metavar="S", help="With --wait: give up waiting after so many seconds."
)
@click.option("--unchecked", is_flag=True, help="Without --wait: drop what the daemon would reject, too.")
@json_option
@click.argument("paths", nargs=-1, required=True, shell_complete=files)
def command(
    *,
    loaded: LoadedSettings,
    wait: bool,
    timeout: float | None,
    unchecked: bool,
    as_json: bool,
    paths: tuple[str, ...],
) -> int:
    """Drop complete copies of the bundles at PATHS into the inbox, and print their names and job ids.

    A running `evald run` judges them; with --wait one that is just being started is waited for. Exit code with --wait:
    0 all passed, 1 some did not, 2 some could not be judged or the time was up. Interrupting stops the waiting only:
    the bundles stay where they are.

    Without --wait nobody would hear that a contract is wrong: what `evald validate` finds is then told at once, with
    exit code 2, and that bundle is not dropped. A - among PATHS is a contract with its sources inline, on stdin.
    """
    if timeout is not None and not math.isfinite(timeout):
        raise click.UsageError(f"--timeout {timeout:g} is no number of seconds", ctx=click.get_current_context())
    if timeout is not None and not wait:
        raise click.UsageError("--timeout belongs to --wait", ctx=click.get_current_context())
    if wait and unchecked:
        raise click.UsageError("--unchecked is for dropping without --wait", ctx=click.get_current_context())
    if wait:
        _await_home(loaded.settings.paths, timeout)
    with judging.interrupted_by_any_end():  # nothing is dropped yet, and stdin may never end
        places, missing = _places(loaded.settings, paths)
    with interrupt.noted(signal.SIGTERM, signal.SIGHUP) as asked:
        dropped, faults = _drop(loaded.settings, places, asked, check=not (wait or unchecked))
    faults = [*missing, *faults]
    if asked.is_set():
        screen.say(f"evald: interrupted: {len(dropped)} of {len(paths)} were dropped, and stay in the queue")
    if not wait or not dropped or asked.is_set():
        _print_dropped(dropped, faults, as_json=as_json)
        if dropped and screen.on_terminal(sys.stderr):  # programs drop thousands, and watch their daemons otherwise
            from daemon.cli import waiting

            waiting.say_if_none_runs(loaded.settings)
        return INTERRUPTED if asked.is_set() else _code(faults)
    return _wait(loaded.settings, dropped, faults, timeout, as_json=as_json)


def _wait(
    settings: Settings, dropped: list[Dropped], faults: list[EvaldError], timeout: float | None, *, as_json: bool
) -> int:
    """Print what was dropped, wait for the results, and print them. What was dropped is printed in any case: whoever
    does not hear of it drops it again."""
    lines: list[Line] = []
    code: int | None = None
    try:
        if not as_json:
            _print_dropped(dropped, faults, as_json=False)
        from daemon.cli import waiting

        lines = waiting.wait_for(settings, dropped, timeout)
    except KeyboardInterrupt:
        screen.say(f"evald: no longer waiting; the bundles stay in the queue. {here('evald status')} shows them")
        code = INTERRUPTED
    except EvaldError as error:
        faults, code = [*faults, error], COULD_NOT
        if not as_json:
            failing.report(error, as_json=False)
    if as_json:
        screen.document(_document(dropped, faults) | {"results": [line.as_document() for line in lines]})
    else:
        _print_results(lines)
    missing = len(dropped) - len(lines)
    if missing and code is None:
        stay = "it stays" if missing == 1 else "they stay"
        screen.say(
            f"evald: {missing} not judged after {timeout:g} s; {stay} in the queue. {here('evald status')} shows more"
        )
        code = COULD_NOT
    return code or _code(faults) or outcome.exit_code(line.verdict for line in lines)


def _await_home(paths: Paths, timeout_s: float | None) -> None:
    """Wait for the inbox of an evald that is started for the first time. As long as its process is there, because it
    has much to import first; else a while, for one to come."""
    if paths.inbox.is_dir():
        return
    from daemon.cli import coming

    screen.say(f"evald: there is no evald at {paths.inbox.parent} yet; waiting {_HOME_S:g} s for one to start")
    began_s = time.monotonic()
    until_s, limit_s = began_s + _HOME_S, began_s + (_STARTING_S if timeout_s is None else timeout_s)
    seen: int | None = None
    while not paths.inbox.is_dir() and time.monotonic() < limit_s:
        found = coming.daemon_for(paths.home)
        if found is not None and found != seen:
            screen.say(f"evald: one is being started (process {found}); waiting for it as long as it takes")
        elif found is None and time.monotonic() > until_s:
            break
        seen = found
        time.sleep(_PAUSE_S)


def _places(settings: Settings, paths: tuple[str, ...]) -> tuple[list[tuple[str, Path]], list[EvaldError]]:
    """Where the bundles are, each with what was typed for it, and for the others why there is none. Raises
    `OperatorError` where there is no inbox."""
    from daemon.cli import bundles

    if not settings.paths.inbox.is_dir():
        from daemon.cli import store

        raise store.no_home(settings)
    places: list[tuple[str, Path]] = []
    faults: list[EvaldError] = []
    for path in paths:
        try:
            places.append((path, bundles.existing(path)))
        except EvaldError as error:
            faults.append(error)
    return places, faults


def _drop(
    settings: Settings, places: list[tuple[str, Path]], asked: threading.Event, *, check: bool
) -> tuple[list[Dropped], list[EvaldError]]:
    """Drop what can be dropped, until `asked` to stop. A bundle that cannot be dropped does not hold up the others."""
    from daemon.intake.submit import submit

    dropped: list[Dropped] = []
    faults: list[EvaldError] = []
    warned: list[tuple[str, tuple[Problem, ...]]] = []
    for text, place in places:
        if asked.is_set():
            break
        try:
            warnings = _check(place, settings) if check else ()
            dropped.append(submit(place, settings.paths.inbox))
            warned.append((text, warnings))
        except BundleError as error:
            faults.append(_NotDropped(text, error))
        except EvaldError as error:
            faults.append(error)
    _say_what_was_meant(warned)
    return dropped, faults


def _say_what_was_meant(warned: list[tuple[str, tuple[Problem, ...]]]) -> None:
    """Print warnings about what is probably misspelt, each once: hundreds of bundles may come from one generator."""
    misspelt: dict[str, list[str]] = {}
    for path, warnings in warned:
        for warning in warnings:
            if warning.suggestion is not None:
                misspelt.setdefault(str(warning), []).append(path)
    for text, (first, *others) in misspelt.items():
        screen.warn(f"{first}{f' and {len(others)} more' if others else ''}: {text}")


class _NotDropped(BundleError):  # noqa: N818 - says what happened
    """A bundle at `path` whose contract or files are wrong."""

    def __init__(self, path: str, error: BundleError) -> None:
        super().__init__(error.problems)
        count = len(self.problems)
        self.message = f"{path} was not dropped: {count} problem{'s' if count > 1 else ''}\n{self.message}"
        self.hint = f"mend it, ask evald validate {shlex.quote(path)}, and submit it again"


def _check(place: Path, settings: Settings) -> tuple[Problem, ...]:
    """The warnings of a bundle. Raises `BundleError` for what the daemon would reject. What this user cannot find out
    is left to the daemon."""
    from daemon.cli import bundles
    from daemon.executor.host import scratch
    from daemon.intake import submit

    with suppress(OperatorError, HarnessError, LostClaim, OSError), scratch.folder("bundle") as folder:
        as_dropped = folder / "dropped" / place.name
        as_dropped.parent.mkdir()
        submit.copy(place, as_dropped)  # whose files they are now is no matter then
        return bundles.read(as_dropped, folder, settings).parsed.warnings
    return ()


def _code(faults: list[EvaldError]) -> int:
    return COULD_NOT if faults else 0


def _document(dropped: list[Dropped], faults: list[EvaldError]) -> dict[str, Any]:
    submitted = [{"name": one.name, "job_id": one.job_id} for one in dropped]
    return {"submitted": submitted, "errors": [as_document(fault) for fault in faults]}


def _print_dropped(dropped: list[Dropped], faults: list[EvaldError], *, as_json: bool) -> None:
    if as_json:
        screen.document(_document(dropped, faults))
        return
    for one in dropped:
        screen.line(f"{one.job_id}  {one.name}")
    for fault in faults:
        failing.report(fault, as_json=False)


def _print_results(lines: list[Line]) -> None:
    if lines:
        screen.line()
        screen.table(COLUMNS, [line.cells() for line in lines])
