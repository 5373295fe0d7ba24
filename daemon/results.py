"""Result files: staged, and released so that a reader sees all of a result or none of it.

A finished evaluation is first staged as `results/.outbox/JOB.FENCE/`, complete and on disk. When the database has
acknowledged it, the folder is renamed to `results/YYYY-MM/JOB/`, and its name leads there (`pointers`). While the
database is away the outbox keeps what it has to be told.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from stat import S_IMODE
from typing import Any

from daemon import access, failpoints, fsio, log, pointers, result_document
from daemon.evaluation import Evaluation
from daemon.paths import Paths

RESULT_FILE = "result.json"
SAMPLES_FILE = "samples.json"
_NO_LINKS_HERE = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS)  # as on SMB, exFAT


@dataclass(frozen=True)
class Staged:
    """A complete result in the outbox."""

    folder: Path
    job_id: str
    fence: int

    @property
    def is_complete(self) -> bool:
        return (self.folder / RESULT_FILE).is_file()

    def document(self) -> dict[str, Any]:
        """The result as it was staged."""
        return document_of(self.folder)

    def evaluation(self) -> Evaluation:
        """What the engine had answered, to tell the database again."""
        return Evaluation.model_validate_json((self.folder / ".evaluation.json").read_text("utf-8"))


def evaluation_of(folder: Path) -> tuple[dict[str, Any], Evaluation]:
    """A visible result, and what the engine had answered, without the fields that only its tools wrote. Raises
    `OSError`, and `ValueError` or `LookupError` if that is no result."""
    told, samples = (json.loads((folder / file).read_text("utf-8")) for file in (RESULT_FILE, SAMPLES_FILE))
    return told, result_document.evaluation_of(told, samples)


def document_of(folder: Path) -> dict[str, Any]:
    """A visible result as people see it. Raises `OSError`, and `ValueError` for what is none."""
    loaded: dict[str, Any] = json.loads((folder / RESULT_FILE).read_text("utf-8"))
    return loaded


def _tool_reports(evaluation: Evaluation) -> Iterator[tuple[str, str]]:
    """The reports of NVIDIA's tools, as files beside the result: they are kept and removed with it. With several cases
    the number of the case stands before the name."""
    several = len(evaluation.cases) > 1
    for number, case in enumerate(evaluation.cases):
        for name, text in case.tool_reports.items():
            yield file_name(f"{number}-{name}" if several else name), text


@dataclass(frozen=True)
class Readers:
    """Who may read a result beside the daemon and its group: everybody, or one user (None: nobody else)."""

    everybody: bool = True
    uid: int | None = None


EVERYBODY = Readers()


def stage(
    paths: Paths, result: Mapping[str, Any], evaluation: Evaluation, fence: int, readers: Readers = EVERYBODY
) -> Staged:
    """Put a complete result on disk, in the outbox. Staging the same job and fence again replaces what was staged.

    Where the file system cannot let a single user in, a result for one is for the daemon's group alone.
    """
    waiting = _place_of(paths, result, fence)
    fsio.remove_tree(waiting.folder)
    _write(waiting.folder, result, evaluation, readers)
    return waiting


def stage_first(
    paths: Paths, result: Mapping[str, Any], evaluation: Evaluation, fence: int, readers: Readers
) -> Staged:
    """As `stage`, for an end that several may bring about at the same moment. What one of them has staged stays, and is
    returned to the others. Raises `OSError`."""
    waiting = _place_of(paths, result, fence)
    if not waiting.is_complete:
        try:
            _write(waiting.folder, result, evaluation, readers)
        except OSError:
            if not waiting.is_complete:
                raise
    return waiting


def _place_of(paths: Paths, result: Mapping[str, Any], fence: int) -> Staged:
    job_id = str(result["job_id"])
    return Staged(paths.outbox / f"{job_id}.{fence}", job_id, fence)


def _write(folder: Path, result: Mapping[str, Any], evaluation: Evaluation, readers: Readers) -> None:
    with fsio.new_folder(folder) as draft:
        if not readers.everybody:
            draft.chmod(0o700)
        (draft / RESULT_FILE).write_text(result_document.as_json(result), "utf-8")
        (draft / SAMPLES_FILE).write_text(result_document.as_json(result_document.samples(evaluation)), "utf-8")
        for name, text in _tool_reports(evaluation):
            (draft / name).write_text(text, "utf-8", "backslashreplace")
        (draft / ".evaluation.json").write_text(result_document.dumped(evaluation.model_dump(mode="json")), "utf-8")
        if not readers.everybody:
            for place in (*draft.iterdir(), draft):
                with suppress(OSError):
                    access.share_with(place, readers.uid)


def staged(paths: Paths) -> Iterator[Staged]:
    """Everything in the outbox."""
    for folder in sorted(paths.outbox.iterdir()):
        job_id, _, fence = folder.name.partition(".")
        if fence.isdecimal() and fence.isascii() and (waiting := Staged(folder, job_id, int(fence))).is_complete:
            yield waiting


def half_staged(paths: Paths) -> Iterator[Staged]:
    """Folders without a result that a kill left in `stage` or `discard`. They are never read, only removed."""
    for folder in sorted(paths.outbox.iterdir()):
        job_id, _, rest = folder.name.removeprefix(".tmp-").partition(".")
        fence = rest.partition("-")[0]
        number = int(fence) if fence.isdecimal() and fence.isascii() else -1
        torn = Staged(folder, job_id, number)
        if is_draft(torn) or (number >= 0 and _lists_no_result(folder)):
            yield torn


def is_draft(torn: Staged) -> bool:
    """Whether it never had the name that a staged result has."""
    return torn.folder.name.startswith(".tmp-")


def _lists_no_result(folder: Path) -> bool:
    """Whether the folder lists no result. It is listed, because on NFS the answer that a name is absent may be half a
    minute old, if somebody asked before it was written. A folder that cannot be listed may hold a result."""
    try:
        return RESULT_FILE not in os.listdir(folder)  # noqa: PTH208 - names
    except NotADirectoryError:
        return True
    except OSError:
        return False


def release(paths: Paths, waiting: Staged, finished_at: datetime, name: str, uid: int | None = None) -> Path:
    """Make a published result visible: `results/YYYY-MM/JOB/`. Idempotent. `uid`: whose bundle it was.

    The name is made to point there first, because once the result has left the outbox nobody would mend a missing name.
    It is not moved from a newer result: what waits in the outbox for a database may be late. Nothing here waits for the
    disk: after a power cut the result is still in the outbox, and is released again.
    """
    final = folder_of(paths, waiting.job_id, finished_at)
    (waiting.folder / ".evaluation.json").unlink(missing_ok=True)
    final.parent.mkdir(exist_ok=True)
    try:
        pointers.point(paths, file_name(name), uid, final, lambda shown: _came_later(shown, waiting.folder))
    except OSError as error:
        if error.errno not in _NO_LINKS_HERE:
            raise
        log.story("no name points to a result: this file system has no links", level=30, job=waiting.job_id, name=name)
    failpoints.hit("result.named")
    try:
        fsio.rename(waiting.folder, final, durably=False)
    except OSError:
        # Released already, by us before a kill or by another daemon just now: then the staged one is the spare.
        if not (final / RESULT_FILE).is_file():
            raise
        fsio.remove_tree(waiting.folder)
    return final


def _came_later(folder: Path, than: Path) -> bool:
    """Whether the result in one folder was written after that in another. False where either is missing, or was written
    in the future, by a clock that was ahead and has been corrected."""
    try:
        written_ns = (folder / RESULT_FILE).stat().st_mtime_ns
        return (than / RESULT_FILE).stat().st_mtime_ns < written_ns <= _now_ns(than)
    except OSError:
        return False


def _now_ns(folder: Path) -> int:
    """The time by the clock of the file system that holds our `folder`. A file server's may differ from this host's."""
    folder.chmod(S_IMODE(folder.stat().st_mode))
    return folder.stat().st_ctime_ns


def discard(waiting: Staged) -> None:
    """Drop a staged result whose lease no longer counts."""
    fsio.remove_tree(waiting.folder)


def folder_of(paths: Paths, job_id: str, finished_at: datetime) -> Path:
    """Where the result of a job that ended at `finished_at` lies."""
    return paths.results / f"{finished_at:%Y-%m}" / job_id


def file_name(name: str) -> str:
    """`name` as one harmless path component."""
    cleaned = "".join(c if c.isprintable() and c not in "/\\" else "_" for c in name).lstrip(".") or "_"
    return cleaned.encode("utf-8", "replace")[:200].decode("utf-8", "ignore")


def released(paths: Paths, job_id: str) -> list[Path]:
    """Where visible results of a job lie, in whatever month: mostly one folder, or none."""
    return [month / job_id for month in months(paths) if (month / job_id).is_dir()]


def months(paths: Paths) -> Iterator[Path]:
    """The folders that hold visible results. Archives that somebody has made of them may lie beside:
    `2026-01.tar.gz`."""
    return (folder for folder in paths.results.glob("[0-9]*-[0-9]*") if folder.is_dir())


def shown_in(paths: Paths) -> tuple[Path, ...]:
    """The folders that the next result is shown in, if they exist."""
    places = (paths.results, paths.results / "by-name", *sorted(months(paths))[-1:])
    return tuple(folder for folder in places if folder.exists())


def are_any(paths: Paths) -> bool:
    """Whether there is a visible result. The folder of a month stays when all of its results have been removed."""
    return any(True for month in months(paths) for _ in month.glob("*"))


def linked(paths: Paths, job_ids: Collection[str]) -> dict[str, str]:
    """Links that lead to results of these jobs: the name that a link has, and the name as it is in the result."""
    found = {}
    for pointer in pointers.everyone(paths):
        if pointer.job_id in job_ids:
            with suppress(OSError, ValueError, KeyError, TypeError):
                document = json.loads((pointer.place / RESULT_FILE).read_text("utf-8"))
                found[pointer.place.name] = str(document["name"])
    return found


def mend_names(paths: Paths, newest: Callable[[str, int | None], Path | None]) -> int:
    """Make links whose result is gone lead to the newest result that is left of the name, and in `by-user` of the user,
    as `newest` says. Remove links of names that have none left. Returns how many links were mended or removed.

    Links to a result that is just being released are left alone, even if that began in the meantime.
    """
    mended = 0
    for pointer in pointers.everyone(paths):
        if not _leads_nowhere(paths, pointer):
            continue
        folder = newest(pointer.place.name, pointer.uid)
        if not _leads_nowhere(paths, pointer):
            continue
        mended += 1
        if folder is not None:
            fsio.point_at(pointer.place, folder)
        else:
            pointers.remove(pointer)
    return mended


def _leads_nowhere(paths: Paths, pointer: pointers.Pointer) -> bool:
    """Whether a link leads to no result, nor to one that is about to come there. When its name is made to lead to it, a
    result lies in the outbox, and then in its place; so it is looked for in this order."""
    if pointer.place.exists():
        return False
    try:
        job_id = pointer.job_id
    except OSError:  # somebody else has removed it
        return False
    return job_id not in {waiting.job_id for waiting in staged(paths)} and not pointer.place.exists()
