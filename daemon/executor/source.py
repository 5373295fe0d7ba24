"""What a backend gets and gives, and how bundle code is imported. Runs inside the cell only."""

from __future__ import annotations

import importlib.util
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

from daemon.executor.inside import advice

_MESSAGE_CHARS = 2000
_TRACEBACK_CHARS = 16_384


class KernelFault(Exception):  # noqa: N818 - not our error: the bundle's
    """The bundle's fault, with the verdict it deserves (`compile_error`, `runtime_error`, `unsupported`, …). `final`: a
    compiler decided it, and would say the same of the same sources again."""

    def __init__(self, verdict: str, message: str, *, details: str | None = None, final: bool = False) -> None:
        super().__init__(message)
        self.final = final
        self.verdict = verdict
        self.message = message
        self.details = details


@dataclass(frozen=True)
class Source:
    """One kernel as it lies in the cell. `metadata` and `launch` are the contract's, symbols resolved."""

    path: Path
    folder: Path
    artifacts: Path
    side: str
    device: str
    metadata: dict[str, Any]
    args: tuple[dict[str, Any], ...] = ()
    launch: dict[str, Any] = field(default_factory=dict)
    requires: dict[str, Any] = field(default_factory=dict)
    architecture: str = ""  # compute capability of the GPU it will run on ("9.0"), empty where it will run on a CPU

    @property
    def text(self) -> str:
        return self.path.read_text("utf-8-sig")  # Python too takes a byte order mark for none of the text


@dataclass
class Kernel:
    """Something that can be called. `make_inputs` and `construct` only where the source has something for them.

    `guesses_inputs`: `make_inputs` was derived from a signature; anything the contract says stands above it.
    `parameters`: the names a call requires, in order, where Python can tell. On a GPU a call only queues work: the
    caller waits for the device.
    """

    call: Callable[..., Any]
    make_inputs: Callable[[], Any] | None = None
    make_init_inputs: Callable[[], Any] | None = None
    construct: Callable[[list[Any], dict[str, Any]], Any] | None = None  # returns the nn.Module, if it is one
    guesses_inputs: bool = False
    parameters: list[str] | None = None
    describe: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    report: Callable[[], dict[str, Any]] | None = None  # what only calls tell, say the config that tuning chose
    stream: Any = None  # torch.cuda.Stream that a graph of its launches must be captured on; None: any


def named(module: ModuleType, name: str) -> Any:
    """What the source calls `name`, in which dots lead into classes, objects and modules; None when it has no such
    thing."""
    try:
        return attrgetter(name)(module)
    except AttributeError:
        return None


def import_source(source: Source, names: dict[str, Any]) -> ModuleType:
    """Execute the user's file as a module, `names` already defined in it. Raises `KernelFault` with the user's own
    lines.

    The file's folder and the bundle's go to the *end* of the module path: a `statistics.py` in one does not replace
    the library's. Whoever reads the command line finds the file and no arguments, as when it is run by hand.
    """
    sys.argv[:] = [str(source.path)]
    for folder in (source.path.parent, source.folder):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    name = f"bundle_{source.path.stem}".replace("-", "_").replace(".", "_")
    spec = importlib.util.spec_from_file_location(name, source.path)
    if spec is None or spec.loader is None:
        raise KernelFault("compile_error", f"{source.path.name} is not a Python file")
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
    """That a module of the bundle was not the one imported, where one of the same name stands before it."""
    name = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    found = getattr(sys.modules.get(name), "__file__", None)
    own = [path.name for path in (folder / f"{name}.py", folder / name) if name and path.exists()]
    if not own or found is None or Path(found).is_relative_to(folder):
        return ""
    return f" ({own[0]} of the bundle is not it: rename it, {name!r} is a module of this host)"


def _exits(error: BaseException) -> str:
    """What a source that is also a script has to do so that it can be imported."""
    if not isinstance(error, SystemExit):
        return ""
    return ' (a source is imported: what it does as a script belongs below if __name__ == "__main__":)'


def fault_from(error: BaseException, folder: Path, verdict: str, doing: str) -> KernelFault:
    """A fault that shows the user's own frames of `error`, none of ours."""
    name = type(error).__name__
    if is_out_of_memory(error):
        verdict = "out_of_memory"
    text = _first_lines(error)
    message = f"{name} {doing}: {text}{advice.on(error, text)}"
    return KernelFault(verdict, message, details=user_traceback(error, folder))


_OUT_OF_MEMORY = frozenset({"OutOfMemoryError", "MemoryError"})  # torch's and CuPy's; PyCUDA's


def is_out_of_memory(error: BaseException) -> bool:
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


def user_traceback(error: BaseException, folder: Path) -> str:
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
    return [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(folder)]


def _relative(text: str, folder: Path) -> str:
    return text.replace(f"{folder}/", "")[:_TRACEBACK_CHARS]
