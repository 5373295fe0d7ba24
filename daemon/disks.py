"""Whether the disks of one home have room, in bytes and in files, to judge and to keep results.

A disk may refuse to write although it says that it has room: a quota is used up, it is dying, a folder belongs to
somebody else. So after a write that failed, another small file is tried. As long as none can be written, the failure
was not the fault of that file, and nothing is begun.
"""

from __future__ import annotations

import os
import tempfile
import uuid
from pathlib import Path

from daemon import fsio
from daemon.config import Settings

_FEWEST_FILES = 1000
_TRIAL_BYTES = 64 * 1024
_TRIAL = ".tmp-trial"


def lack(settings: Settings) -> str | None:
    """What a disk lacks, in words; None where there is room. Raises `OSError`."""
    paths = settings.paths
    for folder in (paths.state, paths.results, paths.work):
        if (lacking := lack_of(os.statvfs(folder), settings.min_free_bytes)) is not None:
            return f"{folder} {lacking}"
    return None


class Disks:
    """Those of one home, as a daemon found them. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._in_doubt = False

    def lack(self) -> str | None:
        """As `lack` of this module. After a write that failed, also what a trial of all folders says, until they take
        files again. Raises `OSError`."""
        found = lack(self._settings)
        if found is not None or not self._in_doubt:
            return found
        refusal = refusal_of(self._settings)
        self._in_doubt = refusal is not None
        return refusal

    def lack_after_fault(self) -> str | None:
        """Why a file could not be written, if the cause was not that file. None: other files can be written."""
        self._in_doubt = True
        try:
            return self.lack()
        except OSError as error:
            return str(error)


def refusal_of(settings: Settings) -> str | None:
    """What a folder says when a small file is written there; where results are staged, it is renamed as well. None
    where all folders take it."""
    paths = settings.paths
    for folder in (paths.jobs, paths.outbox, paths.work):
        try:
            _try(folder)
            if folder == paths.outbox:
                _try_renaming(folder)
        except OSError as error:
            return f"{folder} takes no files: {error.strerror or error}"
    return None


def _try(folder: Path) -> None:
    # A file without a name, if possible: a kill leaves nothing. `reconcile` removes what is left in the outbox.
    with tempfile.TemporaryFile(dir=folder, prefix=f"{_TRIAL}-") as trial:
        trial.write(bytes(_TRIAL_BYTES))
        trial.flush()
        os.fsync(trial.fileno())


def _try_renaming(outbox: Path) -> None:
    """Write and rename as when a result is staged. What a kill leaves is removed with what it leaves of results."""
    trial = outbox / f"{_TRIAL}-{uuid.uuid4().hex}"
    with fsio.new_folder(trial) as draft:
        (draft / "trial").touch()
    fsio.remove_tree(trial)


def lack_of(disk: os.statvfs_result, wanted_bytes: int) -> str | None:
    """The same of one disk."""
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < wanted_bytes:
        return f"has {free_bytes >> 20} MiB free, {wanted_bytes >> 20} are wanted"
    if disk.f_files and disk.f_favail < _FEWEST_FILES:  # some file systems count none
        return f"has room for {disk.f_favail} more files, {_FEWEST_FILES} are wanted"
    return "is read-only" if disk.f_flag & os.ST_RDONLY else None
