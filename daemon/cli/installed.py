"""What `evald doctor` looks at of what is installed: interpreter, packages, compilers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import daemon
from daemon.cli.check import Check, Status
from daemon.cli.pip_commands import evald_itself, install_the_checkout, pip
from daemon.executor.host.compilers import program
from daemon.versions import evald_version, version_of

_NEEDED_PYTHON = (3, 11)
_NO_NVCC = (
    "install the CUDA toolkit, if you judge CUDA; where there is one, name its folder: export CUDA_HOME=/opt/cuda"
)


def all_checks() -> Iterator[Check]:
    yield _python()
    yield from _judging_packages()
    yield _package_owner()
    yield from _compilers()


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _NEEDED_PYTHON:
        return Check("python", Status.FAIL, found, "evald needs Python 3.11 or later")
    return Check("python", Status.OK, f"{found} ({sys.executable}), evald {evald_version()}")


def _judging_packages() -> Iterator[Check]:
    torch, triton = version_of("torch"), version_of("triton")
    if torch is None:
        yield Check("torch", Status.FAIL, "not installed", pip("install torch"))
    else:
        yield Check("torch", Status.OK, torch)
    if triton is None:
        yield Check("triton", Status.WARN, "not installed: triton bundles cannot be judged", pip("install triton"))
    else:
        yield Check("triton", Status.OK, triton)


def _package_owner() -> Check:
    """PyPI's python-daemon installs the same import package and overwrites ours."""
    again = pip(f"install --force-reinstall --no-deps {evald_itself()}")
    hint = f"{pip('uninstall python-daemon')} && {again}"
    place = Path(daemon.__file__).parent
    others = [owner for owner in _owners_of_daemon() if owner.lower() != "evald"]
    if others:
        return Check("package daemon", Status.FAIL, f"also installed by {', '.join(others)}, which overwrites it", hint)
    if not (place / "cli" / "root.py").is_file():
        return Check("package daemon", Status.FAIL, f"{place} is not evald's", hint)
    if importlib.util.find_spec("daemon.migrations") is None:
        message = f"evald is not installed, only found in {place}: there is no daemon.migrations"
        return Check("package daemon", Status.FAIL, message, install_the_checkout(place))
    if version_of("evald") is None:
        message = f"evald is not installed, only found in {place}"
        return Check("package daemon", Status.WARN, message, install_the_checkout(place))
    if (theirs := _place_for_judges()) is None or theirs.resolve() != place.resolve():
        message = f"this is {place}, but what judges would import {theirs or 'none'}: they ignore PYTHONPATH"
        return Check("package daemon", Status.FAIL, message, install_the_checkout(place))
    return Check("package daemon", Status.OK, f"evald's own, {place}")


def _place_for_judges() -> Path | None:
    """The folder where judges and cells find the package: their interpreters ignore the environment."""
    ask = "import daemon, os; print(os.path.dirname(daemon.__file__))"
    told = subprocess.run([sys.executable, "-I", "-c", ask], capture_output=True, text=True, check=False)
    return Path(told.stdout.strip()) if told.returncode == 0 else None


def _owners_of_daemon() -> set[str]:
    """Names of the installed distributions whose list of files holds the package `daemon`."""
    owners = set()
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"] or "?"
        top_level = (distribution.read_text("top_level.txt") or "").split()
        record = distribution.read_text("RECORD") or ""
        if "daemon" in top_level or any(line.startswith("daemon/") for line in record.splitlines()):
            owners.add(name)
    return owners


def _compilers() -> Iterator[Check]:
    for name, purpose, hint in (
        ("g++", "extensions of torch_cuda bundles are not built", "sudo apt-get install g++"),
        ("ninja", "extensions of torch_cuda bundles are not built", pip("install ninja")),
        ("nvcc", "CUDA sources are not compiled by nvcc", _NO_NVCC),
    ):
        found = program(name)
        yield Check(name, Status.OK, str(found)) if found else Check(name, Status.WARN, f"not found: {purpose}", hint)
