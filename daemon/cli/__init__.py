"""The command line. Nothing heavy is imported until a command is chosen: `evald --help` must answer at once.

The program
    root, options                    which commands there are; options that many share
    complete, complete_jobs          what a shell offers at tab; names of jobs among that
    failing, refused, outcome        exceptions and verdicts as words and exit codes
    screen, figures                  what reaches people and scripts; numbers in it
    commands_to_type, pip_commands   what a hint says to type
    inherited, interrupt             what a parent has left us; Ctrl-C in loops
    reference                        docs/reference, as far as it is made from the code

Commands, and what is only theirs
    run, sweep, serve, eval          those that judge
    judging, live                    what these have in common; progress on a terminal
    submit, waiting, bundles         dropping bundles; following them; naming them
    coming                           daemons that are just being started
    new, starters, starter_sources   a bundle to begin with
    validate, schema                 what is wrong with one; what one may say
    status, overview, hosts          one job or the whole place: what waits, which daemons are there,
    deferred, inbox_entries          which bundles wait for a device, and what lies in the inbox
    show, report                     one job; its result
    stats, leaderboard               figures over many jobs; the fastest kernels of a problem
    store, records, urls             the history, opened; as JSON; addresses of databases
    cancel, cleanup, drain           jobs ended, forgotten; hosts that take nothing new
    health, doctor                   whether bundles are judged; whether this machine is fit to judge
    check, checks                    what the doctor looks at: one line of it; most of them;
    installed, device_checks         packages and compilers; devices
    config, db, token, version       settings; the schema; who may call; what is installed
    install_service, mcp             units for systemd; tools for language models
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def main() -> int:
    """The console script `evald`: run one command and answer its exit code."""
    try:
        return _main()
    except KeyboardInterrupt:  # while modules are imported, which takes longest; later the command itself says so
        return _interrupted()


def _main() -> int:
    if sys.getfilesystemencoding() != "utf-8":
        _begin_again_in_utf8()
    try:
        from daemon.cli.failing import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        return _without_click()
    return run()


def _interrupted() -> int:
    """What `failing` says, of which nothing may have been read."""
    with suppress(OSError):
        if "--json" in sys.argv:
            print('{"error": "interrupted", "hint": null}', flush=True)
        print("evald: interrupted", file=sys.stderr)
    return 130


def _without_click() -> int:
    """An install of the client alone, which has no command line."""
    from daemon.cli.pip_commands import install_all_of_evald

    sys.stderr.write(
        f"evald: the command line needs click, a package of Python that is not installed\n  {install_all_of_evald()}\n"
    )
    return 2


def _begin_again_in_utf8() -> None:
    """Names of bundles are UTF-8 whatever the locale is, also to the processes that we start."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], environment)  # noqa: S606
