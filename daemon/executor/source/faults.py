"""What a bundle did wrong, with the lines of its own where it happened."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from daemon.executor.source import advice

_MESSAGE_CHARS = 2000
_TRACEBACK_CHARS = 16_384


class KernelFault(Exception):  # noqa: N818 - not our error: the bundle's
    """The bundle's fault, with the verdict it deserves (`compile_error`, `runtime_error`, `unsupported`, …). `final`: a
    compiler decided it, and would decide the same for the same sources again."""

    def __init__(self, verdict: str, message: str, *, details: str | None = None, final: bool = False) -> None:
        super().__init__(message)
        self.final = final
        self.verdict = verdict
        self.message = message
        self.details = details


def fault_from(error: BaseException, folder: Path, verdict: str, doing: str) -> KernelFault:
    """A fault that shows the user's own frames of `error`, none of ours."""
    name = type(error).__name__
    if _is_out_of_memory(error):
        verdict = "out_of_memory"
    text = _first_lines(error)
    message = f"{name} {doing}: {text}{advice.on(error, text)}"
    return KernelFault(verdict, message, details=_user_traceback(error, folder))


_OUT_OF_MEMORY = frozenset({"OutOfMemoryError", "MemoryError"})  # torch's and CuPy's; PyCUDA's


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed. torch's CPU allocator raises a bare RuntimeError: its text is the only sign there
    is."""
    if isinstance(error, MemoryError) or type(error).__name__ in _OUT_OF_MEMORY:
        return True
    return type(error) is RuntimeError and "DefaultCPUAllocator: can't allocate memory" in str(error)


def _first_lines(error: BaseException) -> str:
    """The message, without the advice that torch gives after a CUDA error's name."""
    try:
        text = str(error)
    except Exception as problem:  # noqa: BLE001 - the user's own __str__
        text = f"its text cannot be had: {type(problem).__name__} in __str__"
    if type(error).__name__ == "AcceleratorError":
        text = text.partition("\n")[0]
    return text[:_MESSAGE_CHARS] or "(no message)"


def _user_traceback(error: BaseException, folder: Path) -> str:
    """The traceback of the innermost cause with user frames: only the frames of files in `folder`, paths relative to
    it."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    for link in reversed(chain):
        if frames := _user_frames(link, folder):
            lines = ["Traceback (most recent call last):\n", *traceback.format_list(frames)]
            return _relative("".join(lines + traceback.format_exception_only(link)), folder)
    if isinstance(error, SyntaxError):  # no frame of the bundle ran: the line that is wrong comes with the error
        return _relative("".join(traceback.format_exception_only(error)), folder)
    return _relative(f"{type(error).__name__}: {_first_lines(error)}\n", folder)


def _user_frames(error: BaseException, folder: Path) -> list[traceback.FrameSummary]:
    frames: list[traceback.FrameSummary] = []
    level = error.__traceback__
    while level is not None:
        if _is_in(folder, level.tb_frame.f_code.co_filename):
            frames += traceback.extract_tb(level, limit=1)
        level = level.tb_next
    return frames


def _is_in(folder: Path, name: str) -> bool:
    """Whether it is a file there. Code may call any text its file: Python looks for the lines of each frame, and fails
    for a text that no file can be called."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return False
    return "\0" not in name and Path(name).is_relative_to(folder)


def _relative(text: str, folder: Path) -> str:
    return text.replace(f"{folder}/", "")[:_TRACEBACK_CHARS]
