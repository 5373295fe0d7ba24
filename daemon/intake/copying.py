"""A private, verified copy of a bundle, whatever form it was dropped in.

Theory of operation. The sender may still hold open descriptors on what was dropped, and may replace any name in it
while it is read. So nothing is judged in place: every byte is copied once, through descriptors that were opened
without following links, and what was copied is what is judged. Only regular files and folders are ever opened; a name
that turned into something else between the look and the open is refused. Memory does not depend on the bundle. The
copy is made under a hidden name and renamed when it is complete, so a folder at `destination` is always a whole
bundle.

What the system answers of a file (it is not there, it may not be read) is the sender's fault, unless a file server said
it for a moment only. A verdict is for good: where one would rest on such an answer, the bundle is read once more.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from daemon import fsio, onemount
from daemon.config import Limits
from daemon.contract import CONTRACT_FILE
from daemon.errors import BundleError, HarnessError, LostClaim, NotBegun, Problem
from daemon.intake import archive, folder, regular
from daemon.intake.admission import Admission
from daemon.intake.names import FORMS, NO_CONTRACT, Form, bundle_name, form_of, readable
from daemon.intake.writing import pour

_FEW = 100
_ONCE_MORE_S = 0.2


@dataclass(frozen=True)
class CopiedBundle:
    """A complete copy: `files` are paths relative to `dir`, sorted; `total_bytes` is what they hold together."""

    dir: Path
    files: tuple[str, ...]
    total_bytes: int


def private_copy(entry: Path, destination: Path, limits: Limits, *, crossing: bool = False) -> CopiedBundle:
    """Copy the bundle at `entry` (folder, archive or single JSON file) to the folder `destination`. An earlier copy
    there is replaced.

    `crossing`: copy also what is mounted there, because it is the bundle of whoever runs this. Raises `BundleError`
    with everything that is wrong with the bundle, `LostClaim` when `entry` is gone, `HarnessError` when it cannot be
    read, and `NotBegun` when the copy cannot be written. Nothing is left behind then.
    """
    staging = destination.with_name(f".{destination.name}.copying")
    try:
        try:
            _copy_into(staging, entry, limits, crossing=crossing)
        except BundleError as error:
            if not _rests_on_an_answer(error):
                raise
            time.sleep(_ONCE_MORE_S)
            _copy_into(staging, entry, limits, crossing=crossing)
        with _destination_faults(destination):
            fsio.remove_tree(destination)
            fsio.rename(_top(staging), destination, durably=False)
    finally:
        with suppress(OSError):  # the disk that failed, most likely; `reconcile` removes it
            fsio.remove_tree(staging)
    files = tuple(sorted(_files_below(destination)))
    return CopiedBundle(destination, files, sum((destination / name).stat().st_size for name in files))


def kind_of(mode: int) -> str:
    """In words, what kind of entry this is that is neither a regular file nor a folder."""
    kinds = {
        stat.S_IFLNK: "a symbolic link",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFBLK: "a device",
        stat.S_IFCHR: "a device",
    }
    return kinds.get(stat.S_IFMT(mode), "of an unknown kind")


def _rests_on_an_answer(error: BaseException | None) -> bool:
    """Whether the error comes from an answer of the system, and not from what is in the bundle."""
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__
    return error is not None


def _copy_into(staging: Path, entry: Path, limits: Limits, *, crossing: bool) -> None:
    with _destination_faults(staging):
        fsio.remove_tree(staging)
        staging.mkdir(parents=True, mode=0o755)
    _copy(entry, staging, limits, crossing=crossing)


def _copy(entry: Path, staging: Path, limits: Limits, *, crossing: bool) -> None:
    name = bundle_name(entry.name)
    mode = _mode_of(entry, name, crossing=crossing)
    if stat.S_ISDIR(mode):
        admission = Admission(name, limits, byte_limit=limits.bundle_bytes, byte_setting="limits.bundle_bytes")
        try:
            folder.copy_folder(entry, staging, admission, as_owner=True, crossing=crossing)
            admission.finish()
        except BundleError as error:
            if _has_no_contract(entry):
                raise BundleError([Problem(CONTRACT_FILE, "", NO_CONTRACT), *error.problems]) from error
            raise
    elif stat.S_ISREG(mode):
        _copy_file(entry, name, staging, limits, crossing=crossing).finish()
    else:
        raise _refused(name, f"is {kind_of(mode)}; drop a folder, an archive or a .json file")


def _has_no_contract(entry: Path) -> bool:
    """Whether there is no contract where one may be. A sender who names a wrong folder has to mend that, and not the
    folder's links."""
    try:
        with os.scandir(entry) as found:
            places = ("", *(one.name for one in islice(found, _FEW)))
        return not any(os.path.lexists(entry / place / CONTRACT_FILE) for place in places)
    except OSError:
        return False


def _copy_file(entry: Path, name: str, staging: Path, limits: Limits, *, crossing: bool) -> Admission:
    form = form_of(name)
    if form is Form.UNKNOWN:
        raise _refused(name, f"is not a bundle; drop {FORMS}")
    with open_regular(entry, name, crossing=crossing) as descriptor:
        _require_one_name(descriptor, name)
        if form is Form.JSON:
            byte_limit = min(limits.contract_bytes, limits.bundle_bytes)
            admission = Admission(name, limits, byte_limit=byte_limit, byte_setting="limits.contract_bytes")
            pour(admission.counted(folder.chunks(descriptor, name)), staging / CONTRACT_FILE)
            return admission
        size_bytes = os.fstat(descriptor).st_size
        if size_bytes > limits.bundle_bytes:
            raise _refused(name, f"{size_bytes} bytes, more than {limits.bundle_bytes} (limits.bundle_bytes)")
        setting = "decompressed, limits.decompressed_bytes"
        admission = Admission(name, limits, byte_limit=limits.decompressed_bytes, byte_setting=setting)
        archive.unpack(form, descriptor, staging, admission, limits)
        return admission


def _require_one_name(descriptor: int, name: str) -> None:
    """Raises `BundleError` for a single file that has another name as well. Its owner need not be who dropped it: a
    file of somebody else that was linked into the inbox still has the name that it had. A file that everybody may read
    is nobody's secret."""
    status = os.fstat(descriptor)
    if status.st_nlink > 1 and not status.st_mode & stat.S_IROTH:
        what = f"has {status.st_nlink} names (hard links) and is not for everybody to read"
        raise _refused(name, f"{what}: it may not be its sender's; drop a copy, or chmod o+r")


@contextmanager
def open_regular(path: Path, name: str, *, crossing: bool) -> Iterator[int]:
    """A descriptor of the regular file at `path`, opened without following a link or waiting for a pipe. `crossing`:
    even if something is mounted there."""
    try:
        descriptor = regular.Opener(crossing=crossing).open(path)
    except FileNotFoundError as error:
        raise LostClaim(f"{path} is gone") from error
    except PermissionError as error:
        raise _refused(name, "cannot be read: permission denied") from error
    except BlockingIOError as error:
        raise _refused(name, regular.LEASED) from error
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise _refused(name, f"cannot be read: {onemount.MOUNTED}") from error
        raise HarnessError(f"cannot open {readable(str(path))}: {error.strerror or error}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise _refused(name, "changed into something else while it was opened")
        yield descriptor
    finally:
        os.close(descriptor)


def _mode_of(entry: Path, name: str, *, crossing: bool) -> int:
    try:
        return regular.Opener(crossing=crossing).status(entry).st_mode
    except FileNotFoundError as error:
        raise LostClaim(f"{name}: {readable(str(entry))} is gone") from error
    except OSError as error:
        if error.errno == errno.EXDEV:
            raise _refused(name, f"cannot be looked at: {onemount.MOUNTED}") from error
        raise HarnessError(f"cannot look at {readable(str(entry))}: {error.strerror or error}") from error


def _top(staging: Path) -> Path:
    """The folder that holds the contract: `staging`, or a single leading folder, beside which only `__MACOSX` and
    hidden names are allowed."""
    if (staging / CONTRACT_FILE).is_file():
        return staging
    counted = [path for path in staging.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
    lone = counted[0] if len(counted) == 1 else staging
    return lone if (lone / CONTRACT_FILE).is_file() else staging


def _files_below(top: Path) -> Iterable[str]:
    for path in top.rglob("*"):
        if path.is_file():
            yield path.relative_to(top).as_posix()


@contextmanager
def _destination_faults(destination: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise NotBegun(f"cannot write the copy {destination}: {error.strerror or error}") from error


def _refused(name: str, message: str) -> BundleError:
    return BundleError([Problem(readable(name), "", message)])
