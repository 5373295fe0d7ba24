"""The compiler options a bundle may give, and how each compiler spells them.

Only options that steer code generation pass. None of them names a file outside the bundle, writes one, or runs a
program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from daemon.executor.source import KernelFault

_NVRTC, _NVCC = "nvrtc", "nvcc"
_BOTH = frozenset({_NVRTC, _NVCC})
_SWITCH = "true|false"
_PTXAS = r"(-{1,2}[\w-]+(=[\w.]+)?)(,-{1,2}[\w-]+(=[\w.]+)?)*"
_PTXAS_ALLOWED = re.compile(
    r"-{1,2}(v|verbose|O[0-3]|opt-level=[0-3]|dlcm=c[agsv]|dscm=c[agsv]|def-load-cache=c[agsv]|def-store-cache=c[agsv]"
    r"|warn-on-spills|warn-spills|warn-lmem-usage|warn-on-local-memory-usage|maxrregcount=\d+|fmad=(true|false)"
    r"|allow-expensive-optimizations=(true|false)|disable-optimizer-constants|suppress-stack-size-warning)"
)


@dataclass(frozen=True)
class _Option:
    """`value`: a pattern the value must match, None for an option without one. `known_to`: who is given it."""

    value: str | None = None
    known_to: frozenset[str] = _BOTH
    short: tuple[str, ...] = ()


_ALLOWED = {
    "define-macro": _Option(r"\w+(\([\w, ]*\))?(=[\w.+\-*/()<>:,&|\"]*)?", short=("D",)),
    "undefine-macro": _Option(r"\w+", short=("U",)),
    "include-path": _Option(r"[\w./+-]+", short=("I",)),
    "std": _Option(r"c\+\+(11|14|17|20|23)"),
    "optimize": _Option(r"[0-3]", frozenset({_NVCC}), ("O",)),
    "gpu-architecture": _Option(r"((sm|compute)_\d{2,3}[af]?|native|all|all-major)", frozenset(), ("arch",)),
    "gpu-code": _Option(r"[\w,\[\]]+", frozenset(), ("code",)),
    "generate-code": _Option(r"[\w=,\[\]\"]+", frozenset(), ("gencode",)),
    "maxrregcount": _Option(r"\d{1,3}"),
    "use_fast_math": _Option(),
    "fmad": _Option(_SWITCH),
    "ftz": _Option(_SWITCH),
    "prec-div": _Option(_SWITCH),
    "prec-sqrt": _Option(_SWITCH),
    "restrict": _Option(),
    "generate-line-info": _Option(short=("lineinfo",)),
    "device-debug": _Option(short=("G",)),
    "debug": _Option(None, frozenset(), ("g",)),
    "disable-warnings": _Option(short=("w",)),
    "diag-suppress": _Option(r"[\w,-]+"),
    "expt-relaxed-constexpr": _Option(None, frozenset({_NVCC})),
    "extended-lambda": _Option(None, frozenset({_NVCC}), ("expt-extended-lambda",)),
    "extra-device-vectorization": _Option(),
    "default-device": _Option(None, frozenset()),
    "resource-usage": _Option(None, frozenset({_NVCC}), ("res-usage",)),
    "ptxas-options": _Option(_PTXAS, short=("Xptxas",)),
}
_BY_SPELLING = {spelling: name for name, option in _ALLOWED.items() for spelling in (name, *option.short)}
_ATTACHED = re.compile(r"([DUIO])(.+)")
_ARCHITECTURE = re.compile(r"(?:sm|compute)_(\d{2,3})([af]?)")


@dataclass(frozen=True)
class Options:
    """Checked options in their long spelling, and the GPU architecture among them (`sm_90a`), if any."""

    given: tuple[tuple[str, str | None], ...]
    architecture: str | None

    def spelled(self, compiler: str) -> list[str]:
        """The words for one compiler's command line; what only the other one knows is left out."""
        return [
            f"--{name}" if value is None else f"--{name}={value}"
            for name, value in self.given
            if compiler in _ALLOWED[name].known_to
        ]


def check(options: Sequence[str], folder: Path) -> Options:
    """Check what the contract gives. Raises `KernelFault` that names the option and what is allowed."""
    given = tuple(_pairs(options))
    include = [(name, _inside(str(value), folder) if name == "include-path" else value) for name, value in given]
    chosen = [value for name, value in given if name in ("gpu-architecture", "generate-code") and value]
    found = [match for value in chosen for match in _ARCHITECTURE.finditer(value)]
    return Options(tuple(include), f"sm_{found[-1][1]}{found[-1][2]}" if found else None)


def architecture(options: Options, capability: str) -> str:
    """The cubin's architecture for a GPU of compute capability `capability` ("9.0").

    A cubin runs only on its own generation. An option for an older GPU is therefore raised to this one's; one for
    this GPU with its special instructions (`sm_90a`) stays, and so does one for a newer GPU, which will not load.
    """
    own = f"sm_{capability.replace('.', '')}"
    if options.architecture is None:
        return own
    wanted = int(_number(options.architecture))
    return own if wanted < int(_number(own)) else options.architecture


def _number(architecture: str) -> str:
    return architecture.removeprefix("sm_").rstrip("af")


def _pairs(options: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    words = iter([word for option in options for word in str(option).split()])
    for word in words:
        name, value = _named(word)
        pattern = _ALLOWED[name].value
        if pattern is None:
            if value is not None:
                raise _refused(word)
            yield name, None
            continue
        value = next(words, "") if value is None else value
        if not re.fullmatch(pattern, value) or not _ptxas_may(name, value):
            raise _refused(f"{word} {value}" if value not in word else word)
        yield name, value


def _named(word: str) -> tuple[str, str | None]:
    if not word.startswith("-"):
        raise _refused(word)
    bare = word.lstrip("-")
    name, equals, value = bare.partition("=")
    if name in _BY_SPELLING:
        return _BY_SPELLING[name], value if equals else None
    if (match := _ATTACHED.fullmatch(bare)) is not None:
        return _BY_SPELLING[match[1]], match[2]
    raise _refused(word)


def _ptxas_may(name: str, value: str) -> bool:
    return name != "ptxas-options" or all(_PTXAS_ALLOWED.fullmatch(word) for word in value.split(","))


def _inside(value: str, folder: Path) -> str:
    path = (folder / value).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise KernelFault("compile_error", f"include path {value!r} is not allowed: it leaves the bundle")
    return str(path)


def _refused(word: str) -> KernelFault:
    listed = ", ".join(f"--{name}" for name in _ALLOWED) + ", -D, -U, -I, -O, -G, -w, -arch, -lineinfo, -Xptxas"
    return KernelFault("compile_error", f"compiler option {word!r} is not allowed; these are: {listed}")
