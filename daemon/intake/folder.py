"""Copying a folder through descriptors: names are opened below an open folder, so the kernel never follows a link for
us.

A symbolic link that stays inside the bundle becomes a copy of the file it points at; one that leaves it is refused. A
file that its sender may have no right to read is refused as well, because a daemon that may read everything would read
it for him. Names of other people's files can get into a bundle: a rename asks for no right on a file, and on some
systems neither does a hard link.
"""

from __future__ import annotations

import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import HarnessError, LostClaim
from daemon.intake.admission import Admission
from daemon.intake.names import readable
from daemon.intake.regular import FOLDER_FLAGS, LEASED, OPEN_FLAGS, Opener
from daemon.intake.writing import CHUNK_BYTES, make_folder, pour

_LINK_HOPS = 8
_ELSEWHERE = "move that out of the bundle, or name another folder with --home (evald eval: TMPDIR)"
_BUNDLE_FAULTS = {
    *(errno.ELOOP, errno.ENOTDIR, errno.EACCES, errno.EPERM, errno.ENXIO, errno.ENAMETOOLONG, errno.EINVAL),
    errno.EXDEV,  # something is mounted there
}


def copy_folder(
    source: Path,
    target: Path,
    admission: Admission,
    *,
    durable: bool = False,
    as_owner: bool = False,
    crossing: bool,
) -> None:
    """Copy the tree at `source` into the folder `target`, and tell `admission` what is in it and what is wrong.

    `as_owner`: only what the owner of `source` may read, as far as owners and modes tell. `crossing`: also what is
    mounted there.
    """
    opener = Opener(crossing=crossing)
    try:
        root = opener.open(source, FOLDER_FLAGS)
    except FileNotFoundError as error:
        raise LostClaim(f"{source} is gone") from error
    except OSError as error:
        if error.errno in _BUNDLE_FAULTS:
            admission.stop(f"cannot be opened: {error.strerror}", error)
        raise HarnessError(f"cannot open {readable(str(source))}: {error.strerror or error}") from error
    try:
        owner_uid = (os.fstat(root).st_uid or None) if as_owner else None  # root may read all
        itself = os.stat(target)  # noqa: PTH116 - as of a descriptor
        _FolderCopy(root, target, admission, durable, owner_uid, opener, itself).copy_level(root, "")
    finally:
        os.close(root)


def chunks(descriptor: int, name: str) -> Iterator[bytes]:
    """The content of an open file, piece by piece, until its end."""
    while True:
        try:
            chunk = os.read(descriptor, CHUNK_BYTES)
        except OSError as error:
            raise HarnessError(f"cannot read {readable(name)}: {error.strerror or error}") from error
        if not chunk:
            return
        yield chunk


@dataclass(frozen=True)
class _FolderCopy:
    root: int
    target: Path
    admission: Admission
    durable: bool
    owner_uid: int | None
    opener: Opener
    itself: os.stat_result

    def copy_level(self, level: int, prefix: str) -> None:
        """Copy what is directly in the open folder `level`, then what is below. Depth is capped by the path rules."""
        with os.scandir(level) as entries:
            for entry in entries:
                raw = prefix + entry.name
                with self._faults(raw):
                    mode = self.opener.status(entry.name, dir_fd=level).st_mode
                    self._copy_entry(level, entry.name, raw, mode)

    def _copy_entry(self, level: int, name: str, raw: str, mode: int) -> None:
        path = self.admission.admit(raw, is_folder=stat.S_ISDIR(mode))
        if path is None:
            return
        if stat.S_ISDIR(mode):
            with self._opened(name, FOLDER_FLAGS, level) as below:
                if os.path.samestat(os.fstat(below), self.itself):
                    where = posixpath.dirname(raw) or "the bundle itself"
                    self.admission.stop(f"its copy is made in it, in {where}: {_ELSEWHERE}")
                make_folder(self.target / path)
                self.copy_level(below, f"{raw}/")
        elif stat.S_ISREG(mode):
            with self._opened(name, OPEN_FLAGS, level) as source:
                self._copy_open_file(source, path)
        elif stat.S_ISLNK(mode):
            self._copy_linked(path, os.readlink(name, dir_fd=level))
        else:
            self.admission.refuse(raw, "is a pipe, a socket or a device; only files and folders are taken")

    def _copy_open_file(self, source: int, path: str) -> None:
        status = os.fstat(source)
        if not stat.S_ISREG(status.st_mode):
            self.admission.refuse(path, "is not a regular file, or changed while it was opened")
            return
        if self.owner_uid not in (None, status.st_uid) and not status.st_mode & stat.S_IROTH:
            whose = (
                f"is user {status.st_uid}'s and not for everybody to read, and the bundle is user {self.owner_uid}'s"
            )
            self.admission.refuse(path, f"{whose}: drop a copy, or chmod o+r")
            return
        pour(self.admission.counted(chunks(source, path)), self.target / path, durable=self.durable)

    def _copy_linked(self, path: str, points_at: str) -> None:
        """Copy what the link at `path` points at, resolving it by hand from the bundle's top."""
        here = path
        for _ in range(_LINK_HOPS):
            place = posixpath.normpath(posixpath.join(posixpath.dirname(here), points_at))
            if points_at.startswith("/") or place == ".." or place.startswith("../"):
                self.admission.refuse(path, f"is a link to {readable(points_at)}, which leaves the bundle")
                return
            following = self._copy_link_target(path, place)
            if following is None:
                return
            here, points_at = place, following
        self.admission.refuse(path, f"is a link through more than {_LINK_HOPS} links")

    def _copy_link_target(self, path: str, place: str) -> str | None:
        """Copy the file at `place`. If that is a link itself, return what it points at."""
        *folders, name = place.split("/")
        with self._faults(path), self._descended(folders) as level:
            mode = self.opener.status(name, dir_fd=level).st_mode
            if stat.S_ISLNK(mode):
                return os.readlink(name, dir_fd=level)
            if stat.S_ISREG(mode):
                with self._opened(name, OPEN_FLAGS, level) as source:
                    self._copy_open_file(source, path)
            else:
                self.admission.refuse(path, f"is a link to {readable(place)}, which is not a file")
        return None

    @contextmanager
    def _descended(self, folders: list[str]) -> Iterator[int]:
        """The folder `folders` below the top, opened one step at a time; a link on the way is an error."""
        level = os.dup(self.root)
        try:
            for name in folders:
                above, level = level, self.opener.open(name, FOLDER_FLAGS, dir_fd=level)
                os.close(above)  # is closed, also where that fails
            yield level
        finally:
            os.close(level)

    @contextmanager
    def _opened(self, name: str, flags: int, level: int) -> Iterator[int]:
        descriptor = self.opener.open(name, flags, dir_fd=level)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _faults(self, raw: str) -> Iterator[None]:
        """Blame on the bundle what a sender can cause (no permission, a name that vanished), and on the disk the
        rest."""
        try:
            yield
        except FileNotFoundError as error:
            self.admission.refuse(raw, "is a link to nothing, or vanished while the bundle was read", error)
        except BlockingIOError as error:
            self.admission.refuse(raw, LEASED, error)
        except OSError as error:
            if error.errno not in _BUNDLE_FAULTS:
                raise HarnessError(f"cannot read {readable(raw)}: {error.strerror or error}") from error
            self.admission.refuse(raw, f"cannot be opened: {error.strerror}", error)
