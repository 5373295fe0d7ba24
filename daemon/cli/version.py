"""`evald version`: what is installed."""

from __future__ import annotations

import platform

import click

from daemon.cli import screen
from daemon.cli.options import json_option
from daemon.versions import evald_version, version_of

_SHOWN = ("torch", "triton", "pycuda", "sqlalchemy", "psycopg")


@click.command("version")
@json_option
def command(*, as_json: bool) -> int:
    """Print the versions of evald, Python and what judging depends on."""
    versions = {"evald": evald_version(), "python": platform.python_version()}
    versions |= {name: version_of(name) or "not installed" for name in _SHOWN}
    if as_json:
        known = {name: None if version == "not installed" else version for name, version in versions.items()}
        screen.document(known)
    else:
        screen.fields(versions.items())
    return 0
