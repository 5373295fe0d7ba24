"""Whether there is room to judge and to keep results: on the disks of one home, in bytes and in files."""

from __future__ import annotations

import os

from daemon.config import Settings

_FEWEST_FILES = 1000


def lack(settings: Settings) -> str | None:
    """What a disk lacks, in words; None where there is room. Raises `OSError`."""
    paths = settings.paths
    for folder in (paths.state, paths.results, paths.work):
        if (lacking := lack_of(os.statvfs(folder), settings.min_free_bytes)) is not None:
            return f"{folder} {lacking}"
    return None


def lack_of(disk: os.statvfs_result, wanted_bytes: int) -> str | None:
    """The same of one disk."""
    free_bytes = disk.f_bavail * disk.f_frsize
    if free_bytes < wanted_bytes:
        return f"has {free_bytes >> 20} MiB free, {wanted_bytes >> 20} are wanted"
    if disk.f_files and disk.f_favail < _FEWEST_FILES:  # some file systems count none
        return f"has room for {disk.f_favail} more files, {_FEWEST_FILES} are wanted"
    return "is read-only" if disk.f_flag & os.ST_RDONLY else None
