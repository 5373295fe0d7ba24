"""The precompiled header of <torch/extension.h>: made once per host, compiler and torch, and lent to build cells.

Theory of operation: reading that header is most of what compiling an extension costs. A cell that never sees a bundle
precompiles it, through a descriptor of a file that lies where no cell can write. Then a rename puts it on the *shelf*,
a folder that build cells see read-only. A script on the shelf, the first `c++` on their PATH, hands the header to GCC
where a command has its very flags (`shared.compiler_wrapper`). If there is no shelf, an empty one, or another compiler,
the plain compiler runs as if none of this was there.

A shelf is named by what it is made for: compiler, torch, Python, the wrapper. Before each build that may use a header,
the files that it was made from are compared again: thousands of files by size and time, in milliseconds.

To make a header takes as long as to compile a few extensions. So it is made when that many have been compiled without
it, for each optimization level by itself: by a builder that has nothing to do, else before the next extension.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shlex
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from daemon import fsio, log
from daemon.config import Settings
from daemon.errors import HarnessError
from daemon.evaluation import Failure
from daemon.executor.cells.endings import CellFailed
from daemon.executor.cells.starting import Cells
from daemon.executor.shared import compiler_wrapper
from daemon.verdict import Phase, Side, Verdict

HEADERS = "headers"  # the folder in the cache
_WRAPPER = Path(compiler_wrapper.__file__)
_LEVELS = ("", *compiler_wrapper.LEVELS)
_WORTH = 2  # extensions compiled without
_MIB = 1 << 20
_HEADER_BYTES = 2048 * _MIB
_MANIFEST_BYTES = 8 * _MIB
_MEMORY_BYTES = 6144 * _MIB
_FREE_BYTES = 4096 * _MIB  # a header takes close to a fifth of it; the database may be on the same disk
MAKE_LIMIT_S = 240.0
_SCRIPT = '#!/bin/sh\nexec {python} -I -S -B {wrapper} {shelf} {compiler} "$@"\n'
_TEXT = "#include <torch/extension.h>\n"
_FORWARD = "#include_next <torch/extension.h>\n"  # for when GCC does not take the header, or it is included twice


def shelf_of(settings: Settings, compiler: Path | None, toolchain: Mapping[str, str | None]) -> Path | None:
    """The shelf for these versions, made if it is missing. None where there is no compiler, no sandbox that protects it
    from writes, or no place for it."""
    if compiler is None or settings.isolation == "none":
        return None
    status = compiler.resolve().stat()
    parts = [str(compiler), status.st_size, status.st_mtime_ns, sys.prefix, platform.python_version()]
    parts += [_WRAPPER.read_text("utf-8"), str(_WRAPPER), _SCRIPT, _FORWARD]
    key = hashlib.sha256(json.dumps([parts, dict(toolchain)], sort_keys=True).encode()).hexdigest()[:16]
    shelf = settings.paths.cache / HEADERS / key
    try:
        shelf.mkdir(parents=True, exist_ok=True)
        for folder in (shelf.parent, shelf):
            folder.chmod(0o755)  # cells read this under another uid; the state folder above is closed to others
    except OSError as error:
        log.story("no place for precompiled headers", level=30, folder=shelf, reason=error)
        return None
    return shelf


def roomy(cells: Cells) -> Cells:
    """The same cells with room for making a header: they run nobody's code."""
    limits = cells.settings.limits
    memory_bytes, file_bytes = max(limits.memory_bytes, _MEMORY_BYTES), max(limits.file_bytes, _HEADER_BYTES)
    limits = replace(limits, memory_bytes=memory_bytes, file_bytes=file_bytes)
    return cells.having(replace(cells.settings, limits=limits))


class Headers:
    """The headers on one shelf. `cells` start the cell that makes them; `limit_bytes` bounds all shelves together."""

    def __init__(self, shelf: Path | None, compiler: Path | None, cells: Cells, limit_bytes: int) -> None:
        self._shelf = shelf
        self._compiler = compiler
        self._cells = cells
        self._limit_bytes = limit_bytes
        self._given_up: set[str] = set()

    def prepare(self) -> None:
        """Called before an extension may be compiled: what is out of date is removed, what is worth having is made.
        Never raises."""
        if self._shelf is None:
            return
        try:
            for level in _LEVELS:
                self._drop_outdated(self._shelf / _name(level))
            self._put_script()
            if (wanted := self._next()) is not None:
                self.make(wanted)
        except OSError as error:
            log.story("precompiled headers cannot be kept", level=30, folder=self._shelf, reason=error)

    def heard(self, described: Mapping[str, Any]) -> None:
        """What a build said of itself: for which level a header would have been of use. A cell may say anything; at
        worst a header is made that nobody uses."""
        if self._shelf is not None and (level := described.get("precompiled_header_wanted")) in _LEVELS:
            with suppress(OSError), self._wishes(str(level)).open("ab") as wishes:
                wishes.write(b".")  # one byte for each, counted across judges

    def make(self, level: str) -> bool:
        """Make the header for one optimization level ("": none given) now. Returns whether it is there. After a failure
        it is not tried again until the next judge."""
        if self._shelf is None or self._compiler is None or level in self._given_up:
            return False
        started = time.monotonic()
        try:
            with _alone(self._shelf) as alone:
                if not alone:  # another judge is at it
                    return False
                if not self._is_there(level):
                    self._make(level)
                self._put_script()
        except (CellFailed, HarnessError, OSError, ValueError) as error:
            self._given_up.add(level)
            log.story("no precompiled header", level=30, flags=level, reason=error)
            return False
        self._make_room()
        log.story("precompiled header made", flags=level, seconds=round(time.monotonic() - started, 1))
        return True

    # -- what is there, and what is wanted ----------------------------------------------------------------------

    def _is_there(self, level: str) -> bool:
        assert self._shelf is not None
        return (self._shelf / _name(level)).is_dir()

    def _wishes(self, level: str) -> Path:
        assert self._shelf is not None
        return self._shelf / f".wanted{level}"

    def _next(self) -> str | None:
        """The next header to make."""
        for level in _LEVELS:
            with suppress(FileNotFoundError):
                wanted = self._wishes(level).stat().st_size >= _WORTH
                if wanted and not self._is_there(level) and level not in self._given_up:
                    return level
        return None

    @staticmethod
    def _drop_outdated(folder: Path) -> None:
        """Remove a header of which any file it was made from has changed."""
        try:
            files = json.loads((folder / "files.json").read_text("utf-8"))
            if all(_stamp(Path(name)) == stamp for name, stamp in files.items()):
                return
        except FileNotFoundError:
            if not folder.is_dir():
                return
        except (ValueError, AttributeError):
            pass
        fsio.remove_tree(folder)

    def _make_room(self) -> None:
        """The oldest go, of whichever shelf, until the rest fits."""
        assert self._shelf is not None
        found = [folder for folder in self._shelf.parent.glob("*/torch*") if folder.is_dir()]
        found.sort(key=lambda folder: folder.stat().st_mtime)
        sizes = {folder: size_of(folder) for folder in found}
        while len(found) > 1 and sum(sizes[folder] for folder in found) > self._limit_bytes:
            oldest = found.pop(0)
            fsio.remove_tree(oldest)
            (oldest.parent / f".wanted{oldest.name.removeprefix('torch')}").unlink(missing_ok=True)  # counted anew

    # -- making one ---------------------------------------------------------------------------------------------

    def _make(self, level: str) -> None:
        assert self._shelf is not None
        if shutil.disk_usage(self._shelf).free < _FREE_BYTES:
            raise OSError(errno.ENOSPC, f"less than {_FREE_BYTES >> 20} MiB are free", str(self._shelf))
        for leftover in self._shelf.glob(".tmp-*"):  # of a judge that was killed meanwhile
            fsio.remove_tree(leftover)
        with fsio.new_folder(self._shelf / _name(level)) as folder:
            folder.chmod(0o755)
            header = folder / compiler_wrapper.HEADER
            header.parent.mkdir(mode=0o755)
            flags, files = self._precompiled(header, level)
            fsio.write_new(header.with_suffix(""), _FORWARD.encode())
            fsio.write_new(folder / "flags.json", json.dumps(flags).encode())
            fsio.write_new(folder / "files.json", json.dumps({name: _stamp(Path(name)) for name in files}).encode())
            for path in folder.rglob("*"):  # whatever our umask is
                path.chmod(0o755 if path.is_dir() else 0o444)

    def _precompiled(self, path: Path, level: str) -> tuple[list[str], list[str]]:
        """Have a cell write the header to `path`. Returns the flags that it is for, and the files that it was made
        from."""
        header = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        manifest = os.memfd_create("manifest", os.MFD_CLOEXEC)
        try:
            os.fchmod(header, 0o666)  # the compiler opens it anew, as the cell's uid; no other process finds it
            self._ask(level, header, manifest)
            os.fchmod(header, 0o444)
            os.fsync(header)
            text = os.pread(manifest, _MANIFEST_BYTES, 0)
        finally:
            os.close(header)
            os.close(manifest)
        told = json.loads(text)
        flags, files = told["flags"], told["files"]
        if not all(isinstance(word, str) for word in (*flags, *files)) or not files:
            raise ValueError("the cell did not say what it made the header from")
        return flags, files

    def _ask(self, level: str, header: int, manifest: int) -> None:
        cell = self._cells.start(Side.CANDIDATE)
        try:
            cell.greet()
            with_cuda = self._cells.settings.device.is_gpu
            cell.request(
                {"type": "precompile", "text": _TEXT, "level": level, "with_cuda": with_cuda},
                "precompiled",
                phase=Phase.BUILD,
                deadline=time.monotonic() + MAKE_LIMIT_S,
                fds=(header, manifest),
            )
        finally:
            cell.kill()  # nothing may write to the header any more
        if not os.fstat(header).st_size:
            failure = Failure(phase=Phase.BUILD, side=Side.CANDIDATE, message="the compiler wrote no header")
            raise CellFailed(Verdict.COMPILE_ERROR, failure)

    def _put_script(self) -> None:
        """The `c++` of build cells."""
        assert self._shelf is not None
        script = self._shelf / "bin" / "c++"
        if script.exists():
            return
        script.parent.mkdir(exist_ok=True)
        script.parent.chmod(0o755)
        words = {"python": sys.executable, "wrapper": _WRAPPER, "shelf": self._shelf, "compiler": self._compiler}
        text = _SCRIPT.format(**{name: shlex.quote(str(word)) for name, word in words.items()})
        fsio.write_atomic(script, text.encode(), mode=0o755)
        script.chmod(0o755)


def size_of(folder: Path) -> int:
    """Bytes of all files below `folder`."""
    total = 0
    for place, _, names in os.walk(folder):  # passes over what is removed meanwhile
        for name in names:
            with suppress(FileNotFoundError):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118
    return total


def _name(level: str) -> str:
    return f"torch{level}"


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


@contextmanager
def _alone(shelf: Path) -> Iterator[bool]:
    """Whether no other judge makes headers for this shelf meanwhile."""
    path = shelf.with_name(f".{shelf.name}.lock")  # beside it: no cell sees the lock
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield fsio.try_lock(lock)
    finally:
        os.close(lock)
