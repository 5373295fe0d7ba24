"""Links that lead to the newest result of a name.

`results/by-name/NAME` leads to the newest of all: whoever calls a bundle NAME moves the link.
`results/by-user/UID/NAME` leads to the newest that this user has dropped, and no other user's bundle moves it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from daemon import fsio
from daemon.paths import Paths


@dataclass(frozen=True)
class Pointer:
    """One of them. `uid`: of whose results; None: of everybody's."""

    place: Path
    uid: int | None

    @property
    def job_id(self) -> str:
        """Of the result it leads to, there or not."""
        return self.place.readlink().name


def point(paths: Paths, name: str, uid: int | None, result: Path, is_newer: Callable[[Path], bool]) -> None:
    """Make `name`, one path component, lead to `result`, which is of user `uid`; not if it leads to one that
    `is_newer`. Raises `OSError`."""
    folders = [paths.results / "by-name"] + ([_of_user(paths, uid)] if uid is not None else [])
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        if not is_newer(folder / name):
            fsio.point_at(folder / name, result)


def everyone(paths: Paths) -> list[Pointer]:
    """All there are."""
    found = [Pointer(place, None) for place in _links_in(paths.results / "by-name")]
    users = paths.results / "by-user"
    for folder in users.iterdir() if users.is_dir() else ():
        if folder.name.isdecimal() and folder.name.isascii():
            found += [Pointer(place, int(folder.name)) for place in _links_in(folder)]
    return found


def remove(pointer: Pointer) -> None:
    """Of a user who has none left nothing stays."""
    pointer.place.unlink(missing_ok=True)
    if pointer.uid is not None:
        with suppress(OSError):  # it has others
            pointer.place.parent.rmdir()


def _of_user(paths: Paths, uid: int) -> Path:
    return paths.results / "by-user" / str(uid)


def _links_in(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (entry for entry in folder.iterdir() if entry.is_symlink())
