"""The compile stage: a build cell turns sources into an artifact, and the artifact is kept by the content that made it.

The cell hands its artifact back through a memfd of a fixed size; the judge never looks inside, it only stores the
bytes under a key that covers everything that went in and passes them to a cell of the same sources. A poisoned
artifact poisons only its own maker.
"""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from daemon import fsio, log
from daemon.evaluation import Failure
from daemon.executor.artifacts.bundle import KernelFiles
from daemon.executor.artifacts.headers import size_of
from daemon.executor.cells.capture import printable
from daemon.executor.cells.endings import CellFailed, TimeLimit
from daemon.executor.cells.spares import CellSource
from daemon.executor.shared.protocol import Message
from daemon.verdict import Phase, Side

_CAPACITY = 256 * 1024 * 1024
_HEADER_LIMIT = 1 << 20
_DEEPEST = 8
_REFUSAL_S = 24 * 3600.0  # then tried again: the host may have the missing header by now
_UNFINISHED_S = 3600.0
_MOST_ENTRIES = 10_000  # refusals are small, and all entries are looked at when one is added


@dataclass(frozen=True)
class Artifact:
    """What a build left: opaque bytes, what the compiler said, how long it took, whether it came from the cache. With a
    `refusal` there are no bytes: the compiler did not take the sources."""

    data: bytes
    describe: dict[str, Any] = field(default_factory=dict)
    build_ms: float = 0.0
    cached: bool = False
    refusal: Failure | None = None


class ArtifactCache:
    """Artifacts and refusals by key in one folder, published by atomic rename. Oldest out when `limit_bytes` is
    passed."""

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, key: str) -> Artifact | None:
        """The artifact of `key`, or None. A damaged entry counts as absent."""
        path = self._folder / key
        try:
            with path.open("rb") as stream:
                age_s = time.time() - os.fstat(stream.fileno()).st_mtime
                header = json.loads(stream.readline(_HEADER_LIMIT))
                data = stream.read()
        except (OSError, ValueError):  # somebody else's, say: then it is built, and replaces that
            return None
        if not isinstance(header, dict) or hashlib.sha256(data).hexdigest() != header.get("sha256"):
            return None
        try:
            refusal = Failure.model_validate(header["refusal"]) if header.get("refusal") else None
        except ValidationError:
            return None
        if refusal is not None and age_s > _REFUSAL_S:
            return None
        with suppress(OSError):  # removed to make room, by another process
            if refusal is None:
                os.utime(path)
        build_ms = float(header.get("build_ms", 0.0))
        return Artifact(data, header.get("describe", {}), build_ms, cached=True, refusal=refusal)

    def put(self, key: str, artifact: Artifact) -> None:
        """Keep `artifact`, then make room. The folder is made anew where somebody has removed it whole."""
        self._folder.mkdir(parents=True, exist_ok=True)
        header = {
            "sha256": hashlib.sha256(artifact.data).hexdigest(),
            "describe": artifact.describe,
            "build_ms": artifact.build_ms,
            "refusal": artifact.refusal.model_dump(mode="json") if artifact.refusal else None,
        }
        fsio.write_atomic(self._folder / key, json.dumps(header).encode() + b"\n" + artifact.data, mode=0o600)
        self._make_room(key)

    def _make_room(self, newest: str) -> None:
        """Remove the oldest until the folder is within its limit. Folders beside the artifacts, the precompiled
        headers, count; whoever made them removes them. `newest` goes last, even where a file system's clock cannot tell
        it from others."""
        self._remove_unfinished()
        found = [entry for entry in self._folder.iterdir() if not entry.name.startswith(".")]
        entries = sorted(
            _those_there(entry for entry in found if not entry.is_dir()),
            key=lambda pair: (pair[1].name == newest, pair[0].st_mtime_ns),
        )
        total = sum(status.st_size for status, _ in entries)
        total += sum(size_of(entry) for entry in found if entry.is_dir())
        for number, (status, entry) in enumerate(entries):
            if total <= self._limit_bytes and len(entries) - number <= _MOST_ENTRIES:
                return
            entry.unlink(missing_ok=True)
            total -= status.st_size

    def _remove_unfinished(self) -> None:
        """What somebody began to write who was killed then."""
        for status, entry in _those_there(self._folder.glob(fsio.UNFINISHED)):
            if time.time() - status.st_mtime > _UNFINISHED_S:
                entry.unlink(missing_ok=True)


def _those_there(entries: Iterable[Path]) -> Iterator[tuple[os.stat_result, Path]]:
    """Without those that another process has removed meanwhile."""
    for entry in entries:
        with suppress(FileNotFoundError):
            yield entry.stat(), entry


def artifact_key(message: Message, files: KernelFiles, toolchain: Mapping[str, str | None]) -> str:
    """sha256 over sources, flags, device and toolchain versions."""
    digest = hashlib.sha256()
    stable = {name: value for name, value in message.items() if name not in ("type", "files", "capacity", "side")}
    digest.update(json.dumps([stable, dict(toolchain), files.source_file], sort_keys=True).encode())
    for name, data in files.contents:
        digest.update(f"\0{name}\0{len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()


def keep(cache: ArtifactCache, key: str, make: Callable[[], Artifact]) -> Artifact:
    """What `make` builds, kept under `key`; with a `refusal` where the compiler decided that there is nothing. Raises
    `CellFailed` for every other end of a build. Nothing of that is kept, because the next build may end otherwise."""
    start = time.perf_counter()
    try:
        artifact = make()
    except CellFailed as failed:
        if not failed.final:
            raise
        artifact = Artifact(b"", build_ms=(time.perf_counter() - start) * 1e3, refusal=failed.failure)
    try:
        cache.put(key, artifact)
    except OSError as error:  # a full disk, say: what was built is here all the same
        log.story("what was built cannot be kept", level=30, reason=error)
    return artifact


def build(cells: CellSource, side: Side, message: Message, files: KernelFiles, *, deadline_s: float) -> Artifact:
    """Compile in a cell of its own. Raises `CellFailed` with the compiler's words, `HarnessError` when no cell
    starts."""
    cell = cells.start(side)
    result = os.memfd_create("artifact", os.MFD_CLOEXEC)
    try:
        os.ftruncate(result, _CAPACITY)
        cell.greet()
        cell.time_limit = TimeLimit(deadline_s, "the setting deadlines.build_s")
        start = time.perf_counter()
        with files.as_memfd() as sources:
            answer = cell.request(
                message | {"type": "build", "capacity": _CAPACITY},
                "built",
                phase=Phase.BUILD,
                deadline=time.monotonic() + deadline_s,
                fds=(sources, result),
            )
        build_ms = (time.perf_counter() - start) * 1e3
        cell.kill()  # nothing may write to the memfd while we read it
        return Artifact(_contents(result, answer.get("artifact_bytes")), described(answer), build_ms)
    finally:
        cell.kill()
        os.close(result)


def _contents(fd: int, claimed: object) -> bytes:
    size = claimed if isinstance(claimed, int) and 0 <= claimed <= _CAPACITY else 0
    if not size or os.fstat(fd).st_size < size:
        return b""
    with mmap.mmap(fd, size, prot=mmap.PROT_READ) as memory:
        return memory[:size]


def described(answer: Message) -> dict[str, Any]:
    """What a cell says of its kernel (`describe`), bounded and printable; empty where it says nonsense."""
    described = answer.get("describe")
    if not isinstance(described, dict) or len(json.dumps(described)) >= _HEADER_LIMIT // 16:
        return {}
    return {printable(str(key)): _cleaned(value) for key, value in described.items()}


def _cleaned(value: Any, depth: int = 0) -> Any:
    """A cell's words, fit for JSON and a database. What is nested too deep is left out."""
    if isinstance(value, dict | list) and depth == _DEEPEST:
        return None
    if isinstance(value, dict):
        return {printable(str(key)): _cleaned(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_cleaned(item, depth + 1) for item in value]
    return printable(value) if isinstance(value, str) else value
