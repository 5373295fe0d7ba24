"""What errors of libraries mean in a cell, in words for who wrote the kernel. No torch."""

from __future__ import annotations

import errno
import os
import resource

# What an error's text has, and what to add to it.
_MEANINGS = (
    ("Torch not compiled with CUDA enabled", "there is no GPU here: kernels run on the CPU"),
    ("No CUDA GPUs are available", "there is no GPU here: kernels run on the CPU"),
    ("Found no NVIDIA driver", "there is no GPU here: kernels run on the CPU"),
    ("CUDA_HOME environment variable is not set", "there is no CUDA toolkit here: CUDA sources cannot be compiled"),
    ("does not require grad", "gradients are off: x.requires_grad_() under torch.enable_grad(), in every call"),
)


def on(error: BaseException, text: str) -> str:
    """A remark in parentheses, or nothing. `text`: the error's own."""
    remark = _limit_hit(error) or _interpreter_lacks(error, text)
    remark = remark or next((meaning for sign, meaning in _MEANINGS if sign in text), "")
    return f" ({remark})" if remark else ""


def tmp_limit() -> str:
    """How much the cell's own /tmp may hold, to be said where something found no space."""
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


def _interpreter_lacks(error: BaseException, text: str) -> str:
    """What Triton's interpreter says of functions it has only the names of, in other words."""
    if type(error).__name__ != "InterpreterError" or not ("NoneType" in text or "extern_elementwise" in text):
        return ""
    return "Triton's interpreter, which stands in for a GPU here, has no libdevice: functions of tl and tl.math it has"
