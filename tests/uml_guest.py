"""A kernel of its own for a test: user-mode Linux, one process of this host.

Theory of operation: a guest's root is the host's, read-only (`uml_guest.sh`); what it writes lies on disks that are
files of the host, in its memory, or in the folder it shares with the host. Killing the process is a power cut: what
the guest had not flushed was in its memory only. Nothing of it needs root, unless it is to have a network.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

XSTATE = Path(__file__).parent / "uml_xstate.c"
SCRIPT = Path(__file__).parent / "uml_guest.sh"
KERNEL = Path("/usr/bin/linux.uml")
BOOT_LIMIT_S = 200.0
COMMAND_LIMIT_S = 300.0
POLL_S = 0.1


def missing(*tools: str) -> str | None:
    """Why there can be no guest here, or not these tools beside it; None when it can be tried."""
    if not KERNEL.exists():
        return "not installed: user-mode-linux"
    if lacking := [tool for tool in ("cc", *tools) if shutil.which(tool) is None]:
        return f"not installed: {', '.join(lacking)}"
    if Path(sys.prefix).is_relative_to("/run"):
        return "this installation lies below /run, which guests have for themselves"
    return None


def require(*tools: str) -> None:
    """Skip the test where no guests are asked for, for they take minutes; refuse it where none can be tried."""
    if not os.environ.get("EVALD_TEST_GUESTS"):
        pytest.skip("takes a kernel of its own: make test-guests")
    if (reason := missing(*tools)) is not None:
        refuse(reason)


def refuse(reason: str) -> NoReturn:
    """Whoever types `make test-guests` wants to know why it cannot run here; CI takes what its machine can do."""
    if os.environ["EVALD_TEST_GUESTS"] == "where-possible":
        pytest.skip(reason)
    pytest.fail(reason)


@contextlib.contextmanager
def booting() -> Iterator[None]:
    """Around what boots guests: this machine may not let them."""
    try:
        yield
    except (OSError, AssertionError) as error:
        refuse(f"user-mode Linux does not boot here: {str(error).partition(chr(10))[0]}")


def make_disk(path: Path, size_bytes: int) -> Path:
    """An empty ext4 in the file `path`."""
    with path.open("wb") as stream:
        stream.truncate(size_bytes)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True, timeout=300, capture_output=True)
    return path


def wait_for(condition: Callable[[], Any], what: str, limit_s: float) -> Any:
    """The first true answer; fails after `limit_s`."""
    deadline_s = time.monotonic() + limit_s
    while not (answer := condition()):
        assert time.monotonic() < deadline_s, f"waited {limit_s} s in vain for: {what}"
        time.sleep(POLL_S)
    return answer


class Guest:
    """One kernel with a name. `disks`: the files that are its /dev/ubda, /dev/ubdb and so on."""

    def __init__(self, folder: Path, name: str, *, disks: Sequence[Path] = ()) -> None:
        self.name = name
        self._folder = folder / name
        self._exchange = self._folder / "exchange"
        self._exchange.mkdir(parents=True)
        self._disks = disks
        self._preloaded = self._folder / "uml_xstate.so"
        compiling = ["cc", "-O2", "-shared", "-fPIC", "-o", str(self._preloaded), str(XSTATE)]
        subprocess.run(compiling, check=True, timeout=300, capture_output=True)
        self._count = 0
        self._kernel: subprocess.Popen[bytes] | None = None
        self._console = self._folder / "console"

    @property
    def prefix(self) -> list[str]:
        """The command line that runs the kernel's."""
        return []

    @property
    def devices(self) -> list[str]:
        """More words for the kernel."""
        return []

    @property
    def shared(self) -> Path:
        """The folder that the guest sees as /run/host."""
        return self._exchange

    def boot(self) -> None:
        """Start a kernel; it is up when the first command has been answered."""
        command = [
            *(str(KERNEL), "mem=320M", "quiet", "ro", "root=/dev/root", "rootfstype=hostfs", "rootflags=/"),
            *(f"init={SCRIPT}", "con=null", "con0=fd:0,fd:1", f"uml_dir={self._folder}/uml"),
            *(f"guest_name={self.name}", f"guest_exchange={self._exchange}"),
            *(f"ubd{number}={disk}" for number, disk in enumerate(self._disks)),
            *self.devices,
        ]
        with self._console.open("wb") as console:
            self._kernel = subprocess.Popen(
                [*self.prefix, *command],
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={
                    **{"PATH": os.environ["PATH"], "HOME": str(self._folder), "TMPDIR": _memory_folder()},
                    "LD_PRELOAD": str(self._preloaded),
                },
            )

    def is_up(self) -> bool:
        """Raises `OSError` with the console when the kernel has ended."""
        assert self._kernel is not None
        if self._kernel.poll() is not None:
            raise OSError(f"the kernel of {self.name} ended: {self.console()[-1500:]}")
        return "is up>" in self.console()

    def console(self) -> str:
        return self._console.read_text("utf-8", "replace")

    def begin(self, script: str, *arguments: str) -> int:
        """Let the guest run a shell script; its number is for `end`. The guest runs one after the other."""
        assert self._kernel is not None and self._kernel.stdin is not None
        wait_for(self.is_up, f"{self.name} to boot\n{self.console()[-1500:]}", BOOT_LIMIT_S)
        self._count += 1
        words = "".join(f" '{word}'" for word in arguments)
        (self._exchange / f"{self._count}.sh").write_text(f"set --{words}\n{script}\n", "utf-8")
        self._kernel.stdin.write(f"{self._count}\n".encode())
        self._kernel.stdin.flush()
        return self._count

    def end(self, number: int, *, check: bool = True, limit_s: float = COMMAND_LIMIT_S) -> str:
        """What script `number` wrote, once it has ended; with `check` its exit code must be 0."""
        mark = f"<done {number} "
        try:
            wait_for(lambda: self.is_up() and mark in self.console(), f"an answer of {self.name}", limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._script(number)}\n{self.console()[-1500:]}") from None
        code = self.console().partition(mark)[2].partition(">")[0]
        output = (self._exchange / f"{number}.out").read_text("utf-8", "replace")
        assert not check or code == "0", f"{self.name}: exit code {code}\n{self._script(number)}\n{output}"
        return output

    def run(self, script: str, *arguments: str, check: bool = True, limit_s: float = COMMAND_LIMIT_S) -> str:
        return self.end(self.begin(script, *arguments), check=check, limit_s=limit_s)

    def hand_over(self, source: Path) -> str:
        """Copy a folder to where the guest sees it; returns the path there."""
        shutil.copytree(source, self._exchange / source.name)
        return f"/run/host/{source.name}"

    def _script(self, number: int) -> str:
        return (self._exchange / f"{number}.sh").read_text("utf-8")

    def kill(self) -> None:
        """The power cut of this guest."""
        if self._kernel is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._kernel.pid, signal.SIGKILL)
        self._kernel.wait(120)
        if self._kernel.stdin is not None:
            self._kernel.stdin.close()
        self._kernel = None


def _memory_folder() -> str:
    """Where a guest's memory is a file: not on a disk, if there is room."""
    shm = Path("/dev/shm")
    return str(shm) if shm.is_dir() and shutil.disk_usage(shm).free > 2 << 30 else "/tmp"
