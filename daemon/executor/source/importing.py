"""Importing the code of a bundle."""

from __future__ import annotations

import importlib.util
import sys
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from daemon.executor.source.faults import KernelFault, fault_from
from daemon.executor.source.kernel import Source


def named(module: ModuleType, name: str) -> Any:
    """What the source calls `name`; dots lead into classes, objects and modules. None when it has no such thing."""
    try:
        return attrgetter(name)(module)
    except AttributeError:
        return None


def import_source(source: Source, names: dict[str, Any]) -> ModuleType:
    """Execute the user's file as a module, with `names` already defined in it. Raises `KernelFault` with the user's own
    lines.

    The file's folder and the bundle's go to the *end* of the module path: a `statistics.py` in one does not replace the
    library's. The command line holds the file and no arguments, as when it is run by hand.
    """
    sys.argv[:] = [str(source.path)]
    for folder in (source.path.parent, source.folder):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    name = f"bundle_{source.path.stem}".replace("-", "_").replace(".", "_")
    spec = importlib.util.spec_from_file_location(name, source.path)
    if spec is None or spec.loader is None:
        remark = " (a notebook: put its code into one)" if source.path.suffix == ".ipynb" else ""
        raise KernelFault("compile_error", f"{source.path.name} is not a Python file, *.py{remark}")
    module = importlib.util.module_from_spec(spec)
    module.__dict__.update(names)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KernelFault:
        raise
    except BaseException as error:
        fault = fault_from(error, source.folder, "compile_error", "while importing")
        fault.message += _shadowed(error, source.folder) + _exits(error)
        raise fault from error
    return module


def _shadowed(error: BaseException, folder: Path) -> str:
    """A remark that a module of the bundle was not imported, because another of the same name stands before it."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    found = getattr(sys.modules.get(name), "__file__", None)
    own = [path.name for path in (folder / f"{name}.py", folder / name) if name and path.exists()]
    if not own or found is None or Path(found).is_relative_to(folder):
        return ""
    return f" ({own[0]} of the bundle is not it: rename it, {name!r} is a module of this host)"


def _exits(error: BaseException) -> str:
    """A remark on what a source that is also a script must do so that it can be imported."""
    if not isinstance(error, SystemExit):
        return ""
    return ' (a source is imported: what it does as a script belongs below if __name__ == "__main__":)'
