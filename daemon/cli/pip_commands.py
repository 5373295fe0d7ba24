"""Commands of pip that a hint tells people to type. They are for the interpreter that runs this evald, since the `pip`
of a shell may be another's, and they install evald itself from where it came."""

from __future__ import annotations

import importlib.metadata
import json
import shlex
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

PACKAGE = Path(__file__).parents[1]
_CONSTRAINTS = "constraints.txt"


def pip(arguments: str) -> str:
    """`pip ARGUMENTS`, as it is typed for this evald."""
    return f"{shlex.quote(sys.executable)} -m pip {arguments}"


def install_all_of_evald() -> str:
    """What to type where the client alone is installed."""
    return f"type: {pip(f'install {evald_itself()}')}"


def install_the_checkout(package: Path) -> str:
    """The command that installs the checkout in which the folder `package` lies."""
    return pip(f"install -e {shlex.quote(str(package.parent))}")


def evald_itself() -> str:
    """The argument of pip for this very evald: the folder or file that it was installed from, if that is still there,
    or the checkout that it runs in. Else its name, which an index must know."""
    source = _source()
    if source is None:
        return "evald"
    versions = source / _CONSTRAINTS
    pinned = f"-c {shlex.quote(str(versions))} " if versions.is_file() else ""
    return f"{pinned}{shlex.quote(str(source))}"


def _source() -> Path | None:
    return _installed_from() or _checkout()


def _installed_from() -> Path | None:
    try:
        told = importlib.metadata.distribution("evald").read_text("direct_url.json")
    except importlib.metadata.PackageNotFoundError:
        return None
    url = urlsplit(json.loads(told)["url"] if told else "")
    path = Path(unquote(url.path))
    return path if url.scheme == "file" and path.exists() else None


def _checkout() -> Path | None:
    """The folder with the package in it, if pip can install from it. A package that is only found by a `.pth` is not
    installed."""
    return PACKAGE.parent if (PACKAGE.parent / "setup.cfg").is_file() else None
