"""What errors of libraries mean in a cell, in words for whoever wrote the kernel. No torch."""

from __future__ import annotations

import errno
import os
import re
import resource
import sys

_NO_GPU = "there is no GPU here: kernels run on the CPU"
_NO_NETWORK = "there is no network here: what a kernel needs lies in its bundle"
_NO_INSTALLING = "nothing can be installed here: modules are those of this host and of the bundle"
_NOT_THERE = "neither the Python of the host that judges has it, nor what this kernel gets to see of the bundle"
_INTERPRETER_LACKS = (
    "Triton's interpreter, which stands in for a GPU here, has nothing for what this line calls: whether Triton's "
    "compiler takes it, a GPU has to tell"
)
# What an error's text has, and what to add to it.
_MEANINGS = (
    ("Torch not compiled with CUDA enabled", _NO_GPU),
    ("No CUDA GPUs are available", _NO_GPU),
    ("Found no NVIDIA driver", _NO_GPU),
    ("0 active drivers", f"{_NO_GPU}, Triton's in its interpreter, which has no driver to ask, and no Gluon"),
    ("Tried to instantiate dummy base class", _NO_GPU),
    ("Cannot access accelerator device when none is available", _NO_GPU),
    ("CUDA_HOME environment variable is not set", "there is no CUDA toolkit here, or torch is a build for CPUs"),
    ("name 'Model' is not defined", "no kernel gets to see the other one's source: it has to hold all it needs"),
    ("attempted relative import", "a source is no package: import what lies beside it without dots in front"),
    ("'pip', 'install'", _NO_INSTALLING),
    ("pip install", _NO_INSTALLING),
    ("Temporary failure in name resolution", _NO_NETWORK),
    ("Failed to resolve", _NO_NETWORK),
    ("Network is unreachable", _NO_NETWORK),
    ("before Module.__init__() call", "super().__init__() has to come first in its __init__"),
    ("invalid type on parameter #", "PyCUDA takes tensors, numpy scalars, and objects that have an address as gpudata"),
    ("'InterpreterBuilder' object has no attribute", _INTERPRETER_LACKS),
    ("AttributeError(\"'str' object has no attribute 'value'\")", _INTERPRETER_LACKS),  # tl.dot_scaled
    ("does not require grad", "gradients are off: x.requires_grad_() under torch.enable_grad(), in every call"),
)
# Lines that are often left out of a source that is cut out of a longer one. torch and nn are there without any.
_FROM_TYPING = "from typing import {}"
_IMPORTS = {
    "F": "import torch.nn.functional as F",
    "np": "import numpy as np",
    "triton": "import triton",
    "tl": "import triton.language as tl",
    "load_inline": "from torch.utils.cpp_extension import load_inline",
    **{name: f"import {name}" for name in ("functools", "itertools", "math", "numpy", "os", "random", "sys", "time")},
    **{name: _FROM_TYPING.format(name) for name in ("Any", "Callable", "Dict", "List", "Optional", "Tuple", "Union")},
}

_FENCE = "```"
_QUOTING = re.compile(r"\"{3}|'{3}|/\*")  # what a fence may stand inside of and be no mistake
_COMMAND = re.compile(r"[%!]\s*[A-Za-z]")
_TAG = re.compile(r"</?\w+>|<\|")
_SHOWN = 40
_WANTS_GPU = re.compile(r"\b(cuda|gpus?)\b", re.IGNORECASE)


def on(error: BaseException, text: str) -> str:
    """A remark in parentheses, or nothing. `text`: the error's own."""
    remark = _limit_hit(error) or _not_imported(error) or _not_there(error)
    remark = remark or next((meaning for sign, meaning in _MEANINGS if sign in text), "")
    remark = remark or _misses_gpu(error, text)
    return f" ({remark})" if remark else ""


def on_source(text: str, error: BaseException | None) -> str:
    """A remark, in parentheses, for a source that does not compile because it is the answer of a language model, pasted
    as it was; or nothing. `error`: what Python said of it, if it is Python."""
    lines = [line.strip() for line in text.splitlines()]
    pointed_at = [error.lineno - 1] if isinstance(error, SyntaxError) and error.lineno else []
    fence = next((number for number, line in enumerate(lines) if line.startswith(_FENCE)), None)
    if fence is not None and not _QUOTING.search("\n".join(lines[:fence])):
        pointed_at.append(fence)
    if any(number < len(lines) and lines[number].startswith(_FENCE) for number in pointed_at):
        return f" (line {pointed_at[-1] + 1} is a markdown fence: give what is between the fences alone)"
    command = next((number for number in pointed_at if number < len(lines) and _COMMAND.match(lines[number])), None)
    if command is not None:
        return f" (line {command + 1} is a command of notebooks, {lines[command][:_SHOWN]}: leave it out)"
    first = next((number for number, line in enumerate(lines) if line), None)
    if first is not None and _TAG.match(lines[first]):
        return f" (line {first + 1} is a tag, {lines[first][:_SHOWN]}: give the code alone)"
    return ""


def tmp_limit() -> str:
    """How much the cell's own /tmp may hold, for a message where something found no space."""
    usage = os.statvfs(os.environ.get("TMPDIR", "/tmp"))  # noqa: S108 - the cell's private tmpfs
    return f"its /tmp may hold {usage.f_blocks * usage.f_frsize} bytes in {usage.f_files} files"


def _limit_hit(error: BaseException) -> str:
    """Which of the cell's own limits an OSError speaks of, by its number."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EMFILE:
        return f"the limit of {resource.getrlimit(resource.RLIMIT_NOFILE)[0]} open files"
    if number == errno.EFBIG:
        return f"the limit of {resource.getrlimit(resource.RLIMIT_FSIZE)[0]} bytes for one file"
    return tmp_limit() if number == errno.ENOSPC else ""


def _not_imported(error: BaseException) -> str:
    """The line that would bring a name along which nobody defines."""
    line = _IMPORTS.get(str(error.name)) if isinstance(error, NameError) else None
    return f"{line} is missing" if line else ""


def _not_there(error: BaseException) -> str:
    """Whose module that would be, as numba's, which many hosts do not have."""
    is_missing = isinstance(error, ModuleNotFoundError) and bool(error.name) and "." not in str(error.name)
    return _NOT_THERE if is_missing else ""


def _misses_gpu(error: BaseException, text: str) -> str:
    """Where the source's own check says that it wants a GPU, and there is none."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, AssertionError | RuntimeError | ValueError | TypeError):
        return ""
    return _NO_GPU if _WANTS_GPU.search(text) and not torch.cuda.is_available() else ""
