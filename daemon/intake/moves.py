"""Renames of bundles, and looks at where they are, with the errors of this room.

An NFS client may repeat a rename whose reply was lost and get an error for one that worked: the answer is therefore
read from the disk, not from the error.
"""

from __future__ import annotations

import os
from pathlib import Path

from daemon import fsio, onemount
from daemon.errors import HarnessError, LostClaim
from daemon.intake import names


def move(source: Path, target: Path, *, durably: bool = True) -> None:
    """Rename to a name that is not in use. The disk says whether it happened, whatever the call answered. Raises
    `LostClaim` when there is nothing to be moved, `HarnessError` when the disk refuses."""
    try:
        fsio.rename(source, target, durably=durably)
    except OSError as error:
        if is_there(target):
            make_durable(source, target)
            return
        if isinstance(error, FileNotFoundError) and target.parent.is_dir() and not is_there(source):
            raise LostClaim(f"{source} is gone") from error
        raise refused(source, target, error) from error


def make_durable(source: Path, target: Path) -> None:
    """Sync both folders of a rename. Raises `HarnessError`."""
    try:
        fsio.fsync_dir(target.parent)
        fsio.fsync_dir(source.parent)
    except OSError as error:
        raise refused(source, target, error) from error


def refused(source: Path, target: Path, error: OSError) -> HarnessError:
    """What to raise for a rename that the disk has refused."""
    return HarnessError(
        f"cannot move {names.readable(str(source))} to {names.readable(str(target))}: {error.strerror or error}",
        hint="evald doctor checks the folders, their owner and the free space",
    )


def status(path: Path) -> os.stat_result:
    """Raises `LostClaim` where there is nothing, `HarnessError` where that cannot be seen."""
    try:
        return onemount.status(path)
    except FileNotFoundError as error:
        raise LostClaim(f"{path} is gone") from error
    except OSError as error:
        raise _unseen(path, error) from error


def is_there(path: Path) -> bool:
    """Raises `HarnessError` where that cannot be seen."""
    try:
        return onemount.is_there(path)
    except OSError as error:
        raise _unseen(path, error) from error


def _unseen(path: Path, error: OSError) -> HarnessError:
    return HarnessError(f"cannot look at {names.readable(str(path))}: {error.strerror or error}")


def listing(folder: Path) -> list[str]:
    """The names in `folder`. Raises `HarnessError`."""
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except OSError as error:
        raise HarnessError(f"cannot list {folder}: {error.strerror or error}") from error
