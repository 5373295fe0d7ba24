"""A bundle's private copy: its contract, and its files on their way into a cell."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from daemon.config import Limits
from daemon.contract import (
    CONTRACT_FILE,
    CaseSpec,
    CompareRequest,
    EvaluateRequest,
    KernelSpec,
    KernelTypeSpec,
    ParsedContract,
    bind_case,
    parse_contract,
)
from daemon.errors import HarnessError
from daemon.verdict import Side

Request = EvaluateRequest | CompareRequest
_COMPILED = frozenset({".pyc", ".pyo"})


@dataclass(frozen=True)
class KernelFiles:
    """What one side's cell gets to see, and which of it is the kernel's source."""

    source_file: str
    contents: tuple[tuple[str, bytes], ...]

    @property
    def listing(self) -> list[list[object]]:
        return [[name, len(data)] for name, data in self.contents]

    @contextmanager
    def as_memfd(self) -> Iterator[int]:
        """A descriptor that holds all contents one after the other."""
        with memfd(data for _, data in self.contents) as fd:
            yield fd


@contextmanager
def memfd(parts: Iterable[bytes]) -> Iterator[int]:
    """A descriptor of memory that holds `parts` one after the other, to be passed to a cell."""
    fd = os.memfd_create("bundle", os.MFD_CLOEXEC)
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(fd, view) :]
        yield fd
    finally:
        os.close(fd)


def parse_folder(bundle_dir: Path, types: Mapping[str, KernelTypeSpec], limits: Limits) -> ParsedContract:
    """The contract of a bundle's private copy. Raises `BundleError`."""
    files = {
        path.relative_to(bundle_dir).as_posix(): path.read_bytes() for path in bundle_dir.rglob("*") if path.is_file()
    }
    return parse_contract(files.pop(CONTRACT_FILE, b""), files, types=types, limits=limits)


def bound(request: Request, case: CaseSpec) -> Request:
    """`bind_case`, which gives back the kind of request that it gets: its type variable can state only one kind at a
    time."""
    if isinstance(request, CompareRequest):
        return bind_case(request, case)
    return bind_case(request, case)


def kernel_of(request: Request, side: Side) -> KernelSpec:
    """The kernel of one side. Raises `ValueError` for the reference of an evaluate."""
    if isinstance(request, EvaluateRequest):
        if side is Side.REFERENCE:
            raise ValueError("an evaluate has no reference")
        return request.kernel
    return request.custom_kernel if side is Side.CANDIDATE else request.ref_kernel


def files_for(request: Request, side: Side, bundle_dir: Path, *, suffix: str) -> KernelFiles:
    """The files that one side's cell gets: everything in the bundle but the contract and the other side's source, or
    its folder if it has one of its own. A kernel may not read what it is compared with, nor bring along what that
    imports. Inline sources become `candidate.py` and the like.

    Compiled Python is left out for both sides. The interpreter takes it for the source beside it without a look at that
    source, so what comes with a candidate would be run as the reference.

    Raises `HarnessError` for a source that was there when the contract was read and is not any more.
    """
    kernel = kernel_of(request, side)
    hidden = {PurePosixPath(CONTRACT_FILE)}
    if isinstance(request, CompareRequest):
        other = kernel_of(request, Side.REFERENCE if side is Side.CANDIDATE else Side.CANDIDATE)
        hidden |= _of_the_other(kernel.source_file, other.source_file)
    contents = [
        (name.as_posix(), path.read_bytes())
        for path in sorted(bundle_dir.rglob("*"))
        if path.is_file() and not _is_compiled(path)
        for name in [PurePosixPath(path.relative_to(bundle_dir))]
        if not hidden & {name, *name.parents}
    ]
    source_file = kernel.source_file
    if source_file is not None and not (bundle_dir / source_file).is_file():
        raise HarnessError(f"{source_file} is gone from the copy of the bundle that is judged, {bundle_dir}")
    if source_file is None:
        source_file = f"{side}{suffix}"
        while (bundle_dir / source_file).exists():
            source_file = f"_{source_file}"
        contents.append((source_file, kernel.source.encode("utf-8")))
    return KernelFiles(source_file, tuple(contents))


def _of_the_other(own: str | None, others: str | None) -> set[PurePosixPath]:
    """What in the bundle belongs to the other side: its source, and its source's folder unless ours lies in there."""
    if others is None or others == own:
        return set()
    source = PurePosixPath(others)
    ours = {PurePosixPath("."), *(PurePosixPath(own).parents if own else ())}
    return {source} if source.parent in ours else {source.parent}


def _is_compiled(path: Path) -> bool:
    return path.suffix.lower() in _COMPILED
