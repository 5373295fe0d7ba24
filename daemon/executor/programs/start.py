"""Where judges and builders begin: bound to whoever started them, with cheaper imports; then the program itself.

Theory of operation: importing torch is most of what a judge's start takes. A quarter of that is the garbage collector,
which looks through ever more objects, although none of them becomes garbage. So it is off until all is imported, and
what was imported is never looked through again, not even in the middle of a measurement.
"""

from __future__ import annotations

import gc
import importlib
import resource
import sys
from typing import Any

from daemon.executor.shared.parent import die_with_parent

_DESCRIPTORS = 1 << 16


def main(argv: list[str]) -> int:
    """`argv`: the module whose `main` this process is to run, and its arguments."""
    die_with_parent()  # before seconds of imports, in which that one may die
    _have_descriptors()
    return int(imported(argv[0]).main(argv[1:]))


def imported(module: str) -> Any:
    """The module `module`, imported without the collector."""
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        gc.freeze()
        gc.enable()


def _have_descriptors() -> None:
    """Raise the limit of open files to what this process may have, within reason. Descriptors on their way to other
    processes are counted for the whole user, who may be a cell's as well, and compared with this limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, _DESCRIPTORS)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
