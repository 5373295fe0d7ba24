"""Where a SQLite file may lie. Its WAL needs memory that all processes share: over a network it corrupts the file."""

from __future__ import annotations

from pathlib import Path

from daemon.errors import OperatorError
from daemon.mounts import mount_of


def refuse_network(path: Path) -> None:
    """Raise `OperatorError` when `path` (a SQLite file, there or not yet) would lie on a network file system."""
    mount = mount_of(path)
    if mount is None or not mount.is_network:
        return
    raise OperatorError(
        f"the SQLite database {path} is on a network file system ({mount.fstype}), where it would be corrupted",
        hint="set `state` to a folder on a local disk (EVALD_STATE=/var/lib/evald), or `database` to a Postgres URL",
    )
