"""The compilers that cells find on their PATH, and which versions they are."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import HarnessError
from daemon.executor.host.supervise import output_of
from daemon.executor.host.toolkit import toolkit
from daemon.executor.sandbox.policy import cell_environment

_LIMIT_S = 20.0
_WORDS = 200


@dataclass(frozen=True)
class Compilers:
    """The C++ compiler, None where there is none; what each compiler says of itself."""

    cxx: Path | None
    versions: dict[str, str | None]


def find() -> Compilers:
    """What a build cell will find."""
    found = {name: program(name) for name in ("c++", "nvcc")}
    return Compilers(found["c++"], {name: _version(place) for name, place in found.items()})


def program(name: str) -> Path | None:
    """What a cell starts as `name`, whatever the path of this process says; None where it finds nothing."""
    found = shutil.which(name, path=cell_environment(threads=1, interpret=False, toolkit=toolkit())["PATH"])
    return Path(found) if found else None


def _version(place: Path | None) -> str | None:
    if place is None:
        return None
    try:
        return " ".join(output_of([str(place), "--version"], timeout_s=_LIMIT_S).split())[:_WORDS]
    except (HarnessError, OSError, TimeoutError):
        return None
