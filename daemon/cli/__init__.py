"""The command line. Nothing heavy is imported until a command is chosen: `evald --help` must answer at once."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """The console script `evald`: run one command and answer its exit code."""
    if sys.getfilesystemencoding() != "utf-8":
        _begin_again_in_utf8()
    try:
        from daemon.cli.failing import run
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        return _without_click()
    return run()


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
