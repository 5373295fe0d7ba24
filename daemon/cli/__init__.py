"""The command line. Nothing heavy is imported until a command is chosen: `evald --help` must answer at once."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """The console script `evald`: run one command and answer its exit code."""
    if sys.getfilesystemencoding() != "utf-8":
        _begin_again_in_utf8()
    from daemon.cli.failing import run

    return run()


def _begin_again_in_utf8() -> None:
    """Names of bundles are UTF-8 whatever the locale is, also to the processes that we start."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    os.execve(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]], environment)  # noqa: S606
