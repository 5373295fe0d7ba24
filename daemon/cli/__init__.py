"""The command line. Nothing heavy is imported until a command is chosen: `evald --help` must answer at once."""

from __future__ import annotations


def main() -> int:
    """The console script `evald`: run one command and answer its exit code."""
    from daemon.cli.failing import run

    return run()
