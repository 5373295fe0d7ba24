"""What `evald submit` does: copy a bundle into the inbox under a hidden name and let it appear by one rename.

The name it appears under ends in the job id, so the sender knows what to wait for.
"""

from __future__ import annotations

import errno
import os
import shlex
import stat
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from daemon import access, fsio, onemount
from daemon.config import Limits
from daemon.errors import NotBegun, OperatorError
from daemon.intake import folder, names
from daemon.intake.admission import Admission
from daemon.intake.copying import open_regular
from daemon.intake.writing import pour

_UNCAPPED = Limits(file_count=2**62, bundle_bytes=2**62)


@dataclass(frozen=True)
class Dropped:
    """A submitted bundle: `inbox/NAME@jobid` until a daemon claims it."""

    name: str
    job_id: str


def submit(path: Path, inbox: Path, job_id: str | None = None) -> Dropped:
    """Drop a complete, durable copy of the folder, archive or JSON file at `path` into `inbox`, overwriting nothing.

    Caps are the daemon's business; what can never be a bundle is refused here. Raises `OperatorError` for a path, an
    inbox or a job id that cannot be used, `BundleError` for links that leave the folder and the like.
    """
    mode = _mode_of(path)
    return _drop(_visible_name(path), inbox, job_id, lambda staging: _copy(path, mode, staging, durable=True))


def copy(path: Path, target: Path) -> None:
    """The bundle at `path` as `submit` would drop it: a copy that belongs to this user. Raises as `submit` does."""
    _copy(path, _mode_of(path), target, durable=False)


def submit_document(document: bytes, name: str, inbox: Path, job_id: str | None = None) -> Dropped:
    """Drop a contract with its sources inline, as `inbox/NAME.json@jobid`. `name` may hold anything.

    Raises `OperatorError` as `submit` does.
    """
    cleaned = "".join(c if c.isprintable() and c not in "/@" else "_" for c in name).lstrip(".") or "bundle"
    return _drop(f"{cleaned}.json", inbox, job_id, lambda staging: fsio.write_new(staging, document))


def sender_in(inbox: Path) -> int:
    """The uid that owns the bundles which this process drops into `inbox`, as the file system there has it: a file
    server may take us for another user. Raises `OperatorError` as `submit` does."""
    draft = inbox / f"{names.DRAFT_PREFIX}{uuid.uuid4().hex}{names.DRAFT_SUFFIX}"
    with _inbox_faults(inbox):
        draft.touch(exist_ok=False)
        try:
            return draft.lstat().st_uid
        finally:
            draft.unlink(missing_ok=True)


def _drop(visible_name: str, inbox: Path, job_id: str | None, fill: Callable[[Path], None]) -> Dropped:
    """Let `fill` write the bundle under a hidden name, and make it appear."""
    job_id = job_id or names.make_job_id()
    if not names.JOB_ID.fullmatch(job_id):
        raise OperatorError(f"{job_id!r} is no job id", hint="a job id is 32 hex digits, lower case")
    target = inbox / names.fit(visible_name, f"@{job_id}")
    if os.path.lexists(target):
        raise OperatorError(f"{target.name} is already in the inbox", hint="leave the job id away to get a fresh one")
    # Without the id: nobody is to use it before this bundle is there.
    staging = inbox / f"{names.DRAFT_PREFIX}{uuid.uuid4().hex}{names.DRAFT_SUFFIX}"
    with _inbox_faults(inbox), _removed_on_failure(staging):
        fill(staging)
        if access.keeps_others_out(inbox):
            _close(staging)
        _let_appear(staging, target)
    return Dropped(names.readable(names.bundle_name(target.name)), job_id)


def _let_appear(staging: Path, target: Path) -> None:
    """Rename the draft into the inbox, and find out whether it happened.

    A file server that fails may have renamed it nevertheless. A sender who is told that it has not submits it again,
    and it is judged twice. Nobody else moves a draft: if it is gone, it has appeared, and may be claimed by now. If the
    answer is that it is not there, as of one that was never made, we look whether it has appeared.
    """
    try:
        fsio.rename(staging, target)
    except OSError as error:
        has_appeared = os.path.lexists(target) if isinstance(error, FileNotFoundError) else onemount.is_gone(staging)
        if not has_appeared:
            raise
        fsio.fsync_dir(target.parent)


def _mode_of(path: Path) -> int:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise OperatorError(f"cannot submit {path}: {error.strerror}", hint="check the path") from error
    if stat.S_ISDIR(mode):
        return mode
    if not stat.S_ISREG(mode) or names.form_of(path.name) is names.Form.UNKNOWN:
        raise OperatorError(f"{path} is not a bundle", hint=f"submit {names.FORMS}")
    return mode


def _visible_name(path: Path) -> str:
    return path.resolve().name.lstrip(".") or "bundle"


def _copy(path: Path, mode: int, staging: Path, *, durable: bool) -> None:
    source = path.resolve()
    admission = Admission(path.name, _UNCAPPED, byte_limit=sys.maxsize, byte_setting="no limit")
    if stat.S_ISDIR(mode):
        staging.mkdir(mode=0o755)
        folder.copy_folder(source, staging, admission, durable=durable, crossing=True)
        admission.finish()
        for below in (*staging.rglob("*"), staging):
            if durable and below.is_dir():
                fsio.fsync_dir(below)
        return
    with open_regular(source, source.name, crossing=True) as descriptor:
        pour(folder.chunks(descriptor, source.name), staging, durable=durable)


def _close(staging: Path) -> None:
    """Set modes under which the inbox's own access control list decides: plain modes would let everybody read. Where
    there is such a list, the group's bits are the most that it can give: the daemon must read, and remove what it
    archived."""
    for place in (*staging.rglob("*"), staging):
        place.chmod(0o770 if place.is_dir() else 0o640)


@contextmanager
def _inbox_faults(inbox: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, NotBegun) as error:
        refused = error if isinstance(error, OSError) else error.__cause__
        if isinstance(refused, PermissionError):
            hint = f"ls -ld {shlex.quote(str(inbox))}   shows who may drop bundles there"
            raise OperatorError(f"this user may not write to the inbox {inbox}", hint=hint) from error
        if isinstance(error, NotBegun):
            raise
        hint = fsio.hint_of_room(error) or "is this the inbox of a running evald? see --home and evald config"
        if error.errno == errno.EROFS:
            hint = f"findmnt -T {shlex.quote(str(inbox))}   shows how it is mounted: read-only"
        raise OperatorError(f"cannot write to the inbox {inbox}: {error.strerror or error}", hint=hint) from error


@contextmanager
def _removed_on_failure(staging: Path) -> Iterator[None]:
    """Leave nothing of ours under the hidden name. After the rename, what stands there is somebody else's."""
    try:
        yield
    except BaseException:
        fsio.remove_tree(staging)
        raise
