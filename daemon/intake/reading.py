"""Reading the contract and the sources of a private copy, capped, and handing them to the parser."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from daemon.config import Limits
from daemon.contract import CONTRACT_FILE, KernelTypeSpec, ParsedContract, parse_contract
from daemon.errors import BundleError, HarnessError, Problem
from daemon.intake import regular
from daemon.intake.names import NO_CONTRACT, Form, form_of, readable

_PARSER_REPORTS = 4  # the parser itself reports a source up to this many times too large, beside its other findings


class BundleFiles(Mapping[str, bytes]):
    """The files of a bundle by relative path (`src/kernel.cu`), each read when it is asked for and not kept.

    Reading one of more than `limit_bytes` raises `BundleError`.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._names = tuple(sorted(_regular_files(folder)))
        self._known = frozenset(self._names)

    def __getitem__(self, name: str) -> bytes:
        if name not in self._known:
            raise KeyError(name)
        return _read_capped(self._folder / name, name, self._limit_bytes, "limits.source_bytes")

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return name in self._known


def read_bundle(folder: Path, types: Mapping[str, KernelTypeSpec], limits: Limits) -> ParsedContract:
    """Parse the contract of the private copy at `folder`. Raises `BundleError` with every problem found."""
    files = BundleFiles(folder, limits.source_bytes * _PARSER_REPORTS)
    if CONTRACT_FILE not in files:
        message = NO_CONTRACT
        if (folder / CONTRACT_FILE).is_dir():
            message = "is a folder; it has to be a file of JSON"
        elif _are_bundles(files):
            message = "is missing; of a folder of bundles name each, such as FOLDER/*"
            raise BundleError([Problem(CONTRACT_FILE, "", message)])
        raise BundleError([Problem(CONTRACT_FILE, "", message, _nearest(files))])
    document = _read_capped(folder / CONTRACT_FILE, CONTRACT_FILE, limits.contract_bytes, "limits.contract_bytes")
    return parse_contract(document, files, types=types, limits=limits, contract_file=CONTRACT_FILE)


def _are_bundles(files: BundleFiles) -> bool:
    """Whether several of what lies in the folder look like bundles themselves."""
    dropped = [name for name in files if "/" not in name and form_of(name) is not Form.UNKNOWN]
    below = [name for name in files if name.count("/") == 1 and Path(name).name == CONTRACT_FILE]
    return len(dropped) + len(below) > 1


def _nearest(files: BundleFiles) -> str | None:
    """The file that was probably meant to be the contract: misspelt, or in a folder below."""
    below = [name for name in files if Path(name).name == CONTRACT_FILE]
    by_lower = {name.lower(): name for name in files}
    close = get_close_matches(CONTRACT_FILE, by_lower, n=1, cutoff=0.7)
    return by_lower[close[0]] if close else next(iter(below), None)


def _regular_files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path.relative_to(folder).as_posix()


def _read_capped(path: Path, name: str, limit_bytes: int, setting: str) -> bytes:
    try:
        with regular.opened(path) as stream:
            content = stream.read(limit_bytes + 1)
    except OSError as error:
        raise HarnessError(f"cannot read the copy {readable(str(path))}: {error.strerror or error}") from error
    if len(content) > limit_bytes:
        raise BundleError([Problem(readable(name), "", f"far too large: more than {limit_bytes} bytes ({setting})")])
    return content
