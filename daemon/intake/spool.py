"""The folders a bundle moves through, one durable rename at a time.

Theory of operation. A bundle is in exactly one folder at any moment, because every move is one rename:

    inbox/NAME -> work/NAME@host-boot-pid-jobid -> archive/NAME@jobid
                                                -> rejected/NAME@jobid/NAME     with reason.txt beside it
                                                -> quarantine/NAME@jobid/NAME   with reason.txt beside it
                                                -> inbox/NAME                   given back

The name in `work/` is unique (it ends in a fresh job id, or in one that nobody holds), so of any number of daemons
that rename the same `inbox/NAME` exactly one succeeds and the others see `FileNotFoundError` (`moves` says what a lost
answer is worth). A rename replaces what is at its target, hence no target name is ever used twice. Every method can be
called again after a kill between any two of its steps, by the same daemon or by another one.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from stat import S_ISREG

from daemon import fsio, log, onemount
from daemon.errors import HarnessError, LostClaim
from daemon.intake import moves, names
from daemon.intake.owner import Owner, WorkName
from daemon.paths import Paths

REASON_FILE = "reason.txt"
_GUESSES_BYTES = 8


@dataclass(frozen=True)
class Claimed:
    """A bundle in `work/`.

    `name` is fit for logs and databases; `path` is what to open. `submitter_uid` is the owner of the dropped entry.
    `dropped_at`: when it appeared; if it was found by `held`, when it was claimed. `size_bytes` is None for a folder.
    """

    job_id: str
    name: str
    path: Path
    owner: Owner
    own_id: bool
    submitter_uid: int
    dropped_at: datetime
    size_bytes: int | None

    @property
    def dropped_name(self) -> str:
        """The name it was dropped under, as the file system spells it, without a job id."""
        parsed = WorkName.parse(self.path.name)
        return parsed.dropped_name if parsed else self.path.name

    @property
    def settled_name(self) -> str:
        """`NAME@jobid`, unique among everything ever dropped."""
        return names.fit(self.dropped_name, f"@{self.job_id}")


class Spool:
    """The moves of bundles between the folders of `paths`, in the name of `owner`. Safe to use from several threads."""

    def __init__(self, paths: Paths, owner: Owner) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._complaint = log.Complaint()
        self.owner = owner

    def claim(self, name: str, *, anew: bool = False) -> Claimed:
        """Take `inbox/NAME` for this daemon.

        A name that ends in `@<job id>` keeps that id, unless a claimed bundle already has it, or it is to be another
        job, `anew`: the same name dropped twice is two jobs. Raises `LostClaim` when it is not there (any more),
        `HarnessError` when the disk refuses: it is in the inbox then, if that can be had.
        """
        source = self._entry(self._paths.inbox, name)
        before = moves.status(source)
        bare_name, chosen = names.split_job_id(name)
        with self._lock:  # two threads must not both find a sender's job id free
            own_id = chosen is not None and not anew and not self._holds(chosen)
            job_id = chosen if chosen is not None and own_id else names.make_job_id()
            work_name = WorkName(bare_name, own_id, self.owner, job_id)
            target = self._paths.work / work_name.text
            moves.move(source, target, durably=False)
        try:
            moves.make_durable(source, target)
            return _claimed(target, work_name, moves.status(target), dropped_at=before.st_ctime)
        except HarnessError:  # else it would be claimed by a process that does not know of it
            with suppress(LostClaim, HarnessError):
                self.give_back(_claimed(target, work_name, before))
            raise

    def submitter_of(self, name: str) -> int:
        """Whose `inbox/NAME` is. Raises `LostClaim` when it is not there."""
        return moves.status(self._entry(self._paths.inbox, name)).st_uid

    def waiting_for(self, job_id: str) -> list[str]:
        """The names in the inbox whose sender chose this job id, in the order in which they came."""
        found = [name for name in moves.listing(self._paths.inbox) if names.split_job_id(name)[1] == job_id]
        return sorted(found, key=lambda name: arrival(self._paths.inbox / name))

    def held_for(self, job_id: str) -> Iterator[Claimed]:
        """The entries of `work/` of one job: mostly one; two or none for a moment while something is repaired."""
        return self._held(name for name in moves.listing(self._paths.work) if name.endswith(f"-{job_id}"))

    def held_as(self, work_name: str, job_id: str) -> Claimed | None:
        """The entry of `work/` of this name and job, found without looking through the others. None: it is not
        there."""
        parsed = WorkName.parse(work_name)
        if parsed is None or parsed.job_id != job_id:
            return None
        return next(self._held([work_name]), None)

    def has(self, job_id: str) -> bool:
        """Whether a bundle of this job is in the inbox or claimed, looked for in the order in which bundles move."""
        return bool(self.waiting_for(job_id)) or any(True for _ in self.held_for(job_id))

    def ids_ending_in(self, suffix: str, sender_uid: int) -> Iterator[str]:
        """The job ids with this ending of what this user has dropped: of bundles in the inbox whose sender chose the
        id, then of claimed ones. One that is claimed meanwhile is there twice."""
        for folder, id_of in ((self._paths.inbox, _chosen_id), (self._paths.work, _claimed_id)):
            for name in moves.listing(folder):
                job_id = id_of(name) if name.endswith(suffix) else None
                if job_id is not None and _is_of(folder / name, sender_uid):
                    yield job_id

    def as_another(self, claimed: Claimed) -> Claimed:
        """Give a claimed bundle a fresh job id, because another bundle has the one it came with. Raises `LostClaim`
        when it is gone."""
        work_name = WorkName(claimed.dropped_name, False, self.owner, names.make_job_id())
        before, target = moves.status(claimed.path), self._paths.work / work_name.text
        moves.move(claimed.path, target)
        return _claimed(target, work_name, before)

    def held(self) -> Iterator[Claimed]:
        """Everything in `work/`, of every owner. Skipped is what is not named like a claimed bundle. An entry that
        cannot be looked at is complained about, and the others are returned."""
        return self._held(moves.listing(self._paths.work), self._complaint)

    def _held(self, entry_names: Iterable[str], complaint: log.Complaint | None = None) -> Iterator[Claimed]:
        for entry_name in entry_names:
            work_name = WorkName.parse(entry_name)
            if work_name is None:
                continue
            path = self._paths.work / entry_name
            try:
                yield _claimed(path, work_name, moves.status(path))
            except LostClaim:
                continue
            except HarnessError as error:
                if complaint is None:
                    raise
                complaint.say(error.message)

    def give_back(self, claimed: Claimed, *, keep_id: bool = False) -> str:
        """Put the bundle back into the inbox, overwriting nothing, and return its name there.

        It gets the name `NAME` if that is free and the daemon chose the job id. Else, and with `keep_id`, it is
        `NAME@jobid`, so that the next claim revives the job. Everybody who may drop bundles can have read that name in
        the inbox, and have put something there that is never taken. Then it gets a name that nobody guesses, with the
        same id, for which its sender waits.
        """
        says_an_id = keep_id or claimed.own_id or names.split_job_id(claimed.dropped_name)[1] is not None
        with_id = (claimed.settled_name, _hard_to_guess(claimed))
        for name in with_id if says_an_id else (claimed.dropped_name, *with_id):
            if self._give_back_exclusively(claimed, name):
                return name
        free = next(name for name in with_id if not moves.is_there(self._paths.inbox / name))
        moves.move(claimed.path, self._paths.inbox / free)
        return free

    def archive(self, claimed: Claimed) -> Path:
        """Move a judged bundle to `archive/NAME@jobid`; already there is fine. After a power cut it may be in `work/`
        still, and is moved again. If somebody has removed the whole folder, it is made anew."""
        target = self._paths.archive / claimed.settled_name
        if moves.is_there(claimed.path):  # and so is the disk that both lie on
            try:
                target.parent.mkdir(exist_ok=True)
            except OSError as error:
                raise moves.refused(claimed.path, target, error) from error
        return _settle(claimed, target, durably=False)

    def is_put_away(self, claimed: Claimed) -> bool:
        """Whether a bundle of this name and job is already where judged ones lie: what is in `work/` is another."""
        name, shelves = claimed.settled_name, (self._paths.rejected, self._paths.quarantine)
        set_aside = (shelf / name / _inner(claimed) for shelf in shelves)
        return any(map(moves.is_there, (self._paths.archive / name, *set_aside)))

    def reject(self, claimed: Claimed, reason: str) -> Path:
        """Set a malformed bundle aside as `rejected/NAME@jobid/NAME`, with `reason.txt`. Returns that folder."""
        return self._set_aside(self._paths.rejected, claimed, reason)

    def quarantine(self, claimed: Claimed, reason: str) -> Path:
        """Set a bundle that could not be judged aside as `quarantine/NAME@jobid/NAME`, with `reason.txt`."""
        return self._set_aside(self._paths.quarantine, claimed, reason)

    def _set_aside(self, shelf: Path, claimed: Claimed, reason: str) -> Path:
        """The reason is written before the bundle moves: a kill in between leaves it in `work/`, to be done again."""
        folder = shelf / claimed.settled_name
        inner = _inner(claimed)
        if not moves.is_there(claimed.path) and not moves.is_there(folder / inner):
            raise LostClaim(f"{claimed.name} ({claimed.job_id}) is no longer in {self._paths.work}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            fsio.fsync_dir(shelf)
            fsio.write_atomic(folder / REASON_FILE, f"{reason.rstrip()}\n".encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise moves.refused(claimed.path, folder, error) from error
        _settle(claimed, folder / inner)
        return folder

    def _give_back_exclusively(self, claimed: Claimed, name: str) -> bool:
        """Rename to `inbox/NAME`; False when NAME is taken or the file system cannot promise to replace nothing."""
        target = self._paths.inbox / name
        try:
            fsio.rename_exclusive(claimed.path, target)
        except FileExistsError:
            return False
        except FileNotFoundError as error:
            raise LostClaim(f"{claimed.path} is gone") from error
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP:
                return False
            raise moves.refused(claimed.path, target, error) from error
        return True

    def _holds(self, job_id: str) -> bool:
        return any(entry_name.endswith(f"-{job_id}") for entry_name in moves.listing(self._paths.work))

    @staticmethod
    def _entry(folder: Path, name: str) -> Path:
        if not name or name in (".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"not the name of an entry: {name!r}")
        return folder / name


def _chosen_id(entry_name: str) -> str | None:
    return names.split_job_id(entry_name)[1]


def _claimed_id(entry_name: str) -> str | None:
    work_name = WorkName.parse(entry_name)
    return None if work_name is None else work_name.job_id


def _is_of(path: Path, sender_uid: int) -> bool:
    try:
        return moves.status(path).st_uid == sender_uid
    except (LostClaim, HarnessError):
        return False


def _inner(claimed: Claimed) -> str:
    """What a bundle is called in the folder in which it is set aside with its reason."""
    return claimed.dropped_name if claimed.dropped_name != REASON_FILE else f"dropped-{REASON_FILE}"


def _hard_to_guess(claimed: Claimed) -> str:
    """As its `settled_name`, with random digits before the ending that says its form."""
    ending = names.ending_of(claimed.dropped_name)
    bare_name = claimed.dropped_name.removesuffix(ending)
    return names.fit(bare_name, f".{secrets.token_hex(_GUESSES_BYTES)}{ending}@{claimed.job_id}")


def arrival(entry: Path) -> tuple[float, str]:
    """A key to sort by: when an entry came into the inbox, as far as its file system tells. An entry that is gone comes
    last."""
    try:
        return onemount.status(entry).st_ctime_ns, entry.name
    except OSError:
        return inf, entry.name


def _claimed(path: Path, work_name: WorkName, status: os.stat_result, *, dropped_at: float | None = None) -> Claimed:
    """The bundle at `path` as it is now, with its `status`: in the inbox somebody could still have put something else
    in its place. `dropped_at`: its change time in the inbox, which the rename changes."""
    return Claimed(
        job_id=work_name.job_id,
        name=names.readable(work_name.dropped_name),
        path=path,
        owner=work_name.owner,
        own_id=work_name.own_id,
        submitter_uid=status.st_uid,
        dropped_at=moment(status.st_ctime if dropped_at is None else dropped_at),
        size_bytes=status.st_size if S_ISREG(status.st_mode) else None,
    )


def moment(time_s: float) -> datetime:
    """A file server may give times that no calendar has."""
    try:
        return datetime.fromtimestamp(time_s, UTC)
    except (ValueError, OverflowError):
        return datetime.now(UTC)


def _settle(claimed: Claimed, target: Path, *, durably: bool = True) -> Path:
    """Move the claimed entry to `target`, or beside it (`NAME.2`) when another bundle of the same job id is there."""
    if not moves.is_there(claimed.path) and moves.is_there(target):
        return target
    place, number = target, 1
    while moves.is_there(place):
        number += 1
        bare_name, job_id = names.split_job_id(target.name)
        place = target.with_name(names.fit(bare_name, f".{number}@{job_id}" if job_id else f".{number}"))
    moves.move(claimed.path, place, durably=durably)
    return place
