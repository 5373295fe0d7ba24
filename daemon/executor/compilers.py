"""The compilers that cells find on their PATH, and which versions they are."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import HarnessError
from daemon.executor.sandbox.policy import cell_environment
from daemon.executor.supervise import output_of

_LIMIT_S = 20.0
_WORDS = 200


@dataclass(frozen=True)
class Compilers:
    """The C++ compiler, None where there is none; what each compiler says of itself."""

    cxx: Path | None
    versions: dict[str, str | None]


def find() -> Compilers:
    """What a build cell will find."""
    path = cell_environment(threads=1, interpret=False)["PATH"]
    found = {name: shutil.which(name, path=path) for name in ("c++", "nvcc")}
    cxx = found["c++"]
    return Compilers(Path(cxx) if cxx else None, {name: _version(place) for name, place in found.items()})


def _version(place: str | None) -> str | None:
    if place is None:
        return None
    try:
        return " ".join(output_of([place, "--version"], timeout_s=_LIMIT_S).split())[:_WORDS]
    except (HarnessError, OSError, TimeoutError):
        return None
