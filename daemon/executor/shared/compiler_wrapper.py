"""Stands before the C++ compiler in a build cell and lets it use the precompiled header of <torch/extension.h>.

    python -I -S compiler_wrapper.py SHELF COMPILER ARGUMENT...

Theory of operation: SHELF holds one folder per set of flags, with `flags.json` and `torch/extension.h.gch`. For a
command that compiles one C++ file with the very flags of a folder, that folder goes in front of torch's own, and GCC
finds the precompiled header by its own rule: where <torch/extension.h> comes before anything else, and if it is valid.
The one is looked at here, and the other made an error. Whatever is not a clean success is forgotten and the compiler
runs again with the arguments as they came: what a build means, and what is said of its errors, is the plain compiler's.
Each compilation leaves a line in the log, for the result to say what was used.

Runs on the standard library alone: it is started for each file. What it is to find on a shelf is said here, for those
as well who make headers (`artifacts.headers`, `backends._torch_header`).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

TYPE_CHECKING = False  # what `typing` costs to import is a good part of what this costs to start
if TYPE_CHECKING:
    from typing import NoReturn

LOG_NAME = "evald-precompiled.log"  # in the cell's TMPDIR
HEADER = "torch/extension.h.gch"  # in the folder of its flags
LEVELS = ("-O1", "-O2", "-O3")  # the one flag more that a header may be made for
_NAME = "-DTORCH_EXTENSION_NAME="
_EXTENSION = "-DTORCH_API_INCLUDE_EXTENSION_H"
_SUFFIXES = (".cpp", ".cc", ".cxx")
# With these GCC looks for headers, or for parts of itself, elsewhere.
_MISLEADING = ("CPATH", "C_INCLUDE_PATH", "CPLUS_INCLUDE_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX")
_FIRST = re.compile(rb"(?:\s|//[^\n\\]*\n|/\*.*?\*/)*#[ \t]*include[ \t]*<torch/extension\.h>", re.DOTALL)
_HEAD_BYTES = 1 << 16
_STRICT = ("-Winvalid-pch", "-Werror=invalid-pch", "-Wfatal-errors")


def shared_flags(arguments: list[str]) -> tuple[list[str], str] | None:
    """The flags of a command that compiles one C++ file, without what differs from file to file (source, output,
    dependency file and the extension's name), and the source. None for any other command."""
    flags: list[str] = []
    sources: list[str] = []
    compiles = False
    words = iter(arguments)
    for word in words:
        if word == "-c":
            compiles = True
        elif word in ("-o", "-MF"):
            next(words, None)
        elif word == "-isystem":
            flags += [word, next(words, "")]
        elif word == "-MMD" or (word.startswith(_NAME) and word[len(_NAME) :].isidentifier()):
            continue
        elif word.startswith("-"):
            flags.append(word)
        else:
            sources.append(word)
    # An object, a response file, a flag's second word: not what we know.
    return (flags, sources[0]) if compiles and len(sources) == 1 and sources[0].endswith(_SUFFIXES) else None


def _begins_with_header(source: str) -> bool:
    """Whether only comments stand before the header: GCC takes no precompiled header later, and says nothing."""
    try:
        with open(source, "rb") as stream:  # noqa: PTH123
            return _FIRST.match(stream.read(_HEAD_BYTES)) is not None
    except OSError:
        return False


def _folders(shelf: str) -> dict[str, list[str]]:
    """The flags of each folder on `shelf` that has a header."""
    found = {}
    try:
        names = sorted(os.listdir(shelf))  # noqa: PTH208
    except OSError:
        return {}
    for name in names:
        folder = os.path.join(shelf, name)  # noqa: PTH118
        try:
            os.stat(os.path.join(folder, HEADER))  # noqa: PTH116, PTH118
            with open(os.path.join(folder, "flags.json"), encoding="utf-8") as stream:  # noqa: PTH118, PTH123
                found[folder] = json.load(stream)
        except (OSError, ValueError):
            continue
    return found


def _wanted_level(folders: dict[str, list[str]], flags: list[str]) -> str | None:
    """The optimization level ("": none) of a header that would fit `flags`; None where none can be made that would.
    Before the first header is there, nobody knows what torch passes: whatever compiles an extension counts."""
    levels, rest = _apart(flags)
    if len(levels) > 1:
        return None
    known = any(rest == _apart(made)[1] for made in folders.values()) if folders else _EXTENSION in flags
    return "".join(levels) if known else None


def _apart(flags: list[str]) -> tuple[list[str], list[str]]:
    """The levels among `flags`, and all others."""
    return [flag for flag in flags if flag in LEVELS], [flag for flag in flags if flag not in LEVELS]


def _compiled(compiler: str, folder: str, arguments: list[str]) -> bool:
    """Compile with the header of `folder`; False, and nothing said, where that was no success."""
    command = [compiler, "-isystem", folder, *_STRICT, *arguments]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return False
    if done.returncode != 0:
        return False
    sys.stdout.buffer.write(done.stdout)
    sys.stderr.buffer.write(done.stderr)
    return True


def _note(used: bool, wanted: str | None) -> None:
    line = json.dumps({"used": used, "wanted": wanted}) + "\n"
    try:
        with open(os.path.join(os.environ["TMPDIR"], LOG_NAME), "a", encoding="utf-8") as log:  # noqa: PTH118, PTH123
            log.write(line)
    except (OSError, KeyError):
        return  # it is only told, never needed


def main(argv: list[str]) -> NoReturn:
    shelf, compiler, *arguments = argv
    known = shared_flags(arguments)
    if known is not None:
        flags, source = known
        fits = _begins_with_header(source) and not any(name in os.environ for name in _MISLEADING)
        folders = _folders(shelf) if fits else {}
        folder = next((folder for folder, made in folders.items() if made == flags), None)
        if folder is not None and _compiled(compiler, folder, arguments):
            _note(True, None)
            sys.exit(0)
        _note(False, _wanted_level(folders, flags) if fits and folder is None else None)
    # By its own path: under a name GCC would look itself up on the PATH, find this, and take it for where it lies.
    os.execv(compiler, [compiler, *arguments])  # noqa: S606


if __name__ == "__main__":
    main(sys.argv[1:])
