"""`evald version`: what is installed."""

from __future__ import annotations

import importlib.metadata
import platform

import click

from daemon.cli import screen
from daemon.cli.options import json_option

_SHOWN = ("torch", "triton", "pycuda", "sqlalchemy", "psycopg")


def version_of(distribution: str) -> str | None:
    """The installed version, without importing the package; None when it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def evald_version() -> str:
    return version_of("evald") or "unknown (not installed)"


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
