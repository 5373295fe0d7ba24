"""The only place that starts what may run a bundle's code: with an owner, a way to stop all of it, nothing left behind.

Theory of operation: judges are started here, and zygotes (`zygote`), each behind bubblewrap. What they are once they
run is `processes`. Start from a thread that outlives the program: the parent-death signal that protects against orphans
belongs to the thread.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

from daemon import fsio
from daemon.errors import HarnessError, Hindered
from daemon.executor.host import scratch
from daemon.executor.host.processes import PlainProgram, SandboxedProgram
from daemon.executor.host.readable import is_readable
from daemon.executor.sandbox import bubblewrap
from daemon.executor.sandbox.policy import Policy
from daemon.executor.sandbox.probe import INSTALL_HINT

_LAST_WORDS_S = 2.0


def start_plain(program: list[str], environment: dict[str, str], *, keep_fds: tuple[int, ...]) -> PlainProgram:
    """Start `program` without walls. Every /tmp in `environment` becomes a folder of its own. It must call
    `die_with_parent` itself."""
    folder = scratch.make("unsandboxed")
    environment = {name: _below(folder, value) if name != "PATH" else value for name, value in environment.items()}
    process = subprocess.Popen(
        program,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=keep_fds,
        env=environment,
        start_new_session=True,
    )
    return PlainProgram(process, folder)


def _below(folder: Path, value: str) -> str:
    inside = value == "/tmp" or value.startswith("/tmp/")  # noqa: S108 - a path inside a cell
    return f"{folder}{value[4:]}" if inside else value


def start_judge(program: list[str], *, gpu: str | None, keep_fds: tuple[int, ...]) -> PlainProgram:
    """Start a trusted judge with our environment. What it prints goes where our own messages go. Of the GPUs it sees
    the one with UUID `gpu`. It calls `die_with_parent`."""
    process = subprocess.Popen(
        program,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=keep_fds,
        # The judge's own threads sleep when they wait: spinning, they would take the processor from the kernel it
        # times.
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "CUDA_VISIBLE_DEVICES": gpu or ""},
        start_new_session=True,
    )
    return PlainProgram(process)


def output_of(program: list[str], *, timeout_s: float) -> str:
    """What a trusted program of ours prints on stdout. Raises `HarnessError` with its last words when it fails, and
    `TimeoutError` when it hangs: it is killed then, and not waited for if it does not die."""
    process = subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        printed, complaint = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        process.kill()
        raise TimeoutError(f"{program[0]} was still running after {timeout_s:g} s") from error
    if process.returncode:
        raise HarnessError(complaint.decode("utf-8", "replace").strip()[-500:] or f"exit code {process.returncode}")
    return printed.decode("utf-8", "replace")


def start_sandboxed(
    policy: Policy, program: list[str], *, keep_fds: tuple[int, ...], timeout_s: float
) -> SandboxedProgram:
    """Start `program` behind the walls of `policy`.

    Raises `HarnessError` when bubblewrap cannot build the sandbox, `Hindered` when it was killed or is late.
    """
    if shutil.which(bubblewrap.BWRAP) is None:
        raise HarnessError("bubblewrap is not installed", hint=INSTALL_HINT)
    as_root = bubblewrap.running_as_root()
    opened: list[int] = []
    process: subprocess.Popen[bytes] | None = None
    try:
        info_read, info_write = _pipe(opened)
        gate_read, gate_write = _pipe(opened)
        userns_read, userns_write = _pipe(opened) if as_root else (None, -1)
        inherited = [fd for fd in (info_write, gate_read, userns_read) if fd is not None]
        argv = bubblewrap.command(policy, program, info_fd=info_write, gate_fd=gate_read, userns_fd=userns_read)
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(*inherited, *keep_fds),
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin")},
        )
        for fd in inherited:
            opened.remove(fd)
            os.close(fd)
        init_pid = _read_child_pid(info_read, timeout_s)
        if as_root:
            _write_user_map(init_pid, policy)
            os.write(userns_write, b"1")
        os.write(gate_write, b"1")
        return SandboxedProgram(process, init_pid)
    except (HarnessError, OSError, ValueError) as error:
        while opened:  # a fork may be waiting at a gate, and hold its streams
            os.close(opened.pop())
        kind = Hindered if isinstance(error, Hindered) or _was_killed(process) else HarnessError
        reason = _last_complaint(process) or str(error)
        limit = fsio.hint_of_room(error) if isinstance(error, OSError) else None
        raise kind(f"the sandbox could not be built: {reason}", hint=limit or "evald doctor") from error
    finally:
        for fd in opened:
            os.close(fd)


def _pipe(opened: list[int]) -> tuple[int, int]:
    """The reading and the writing end of a pipe, noted among what is to be closed."""
    ends = os.pipe()
    opened.extend(ends)
    return ends


def _was_killed(process: subprocess.Popen[bytes] | None) -> bool:
    """Whether a program that has come to no good end was killed by somebody else."""
    with suppress(subprocess.TimeoutExpired):
        return process is not None and process.wait(_LAST_WORDS_S) == -signal.SIGKILL
    return False


def _last_complaint(process: subprocess.Popen[bytes] | None) -> str:
    """What a program that is killed had to say, as far as it comes soon."""
    if process is None:
        return ""
    process.kill()
    try:
        _, complaint = process.communicate(timeout=_LAST_WORDS_S)
    except subprocess.TimeoutExpired as late:
        complaint = late.stderr or b""
    return complaint.decode("utf-8", "replace").strip()


def _read_child_pid(fd: int, timeout_s: float) -> int:
    """bubblewrap writes one JSON object with `child-pid` and closes; an early end means it failed (see its stderr)."""
    text = b""
    while not text.rstrip().endswith(b"}"):
        if not is_readable(fd, timeout_s):
            raise Hindered(f"bubblewrap had not built the sandbox within {timeout_s:g} s")
        chunk = os.read(fd, 4096)
        if not chunk:
            raise HarnessError("bubblewrap ended before it had built the sandbox")
        text += chunk
    return int(json.loads(text)["child-pid"])


def _write_user_map(pid: int, policy: Policy) -> None:
    """Map 0 and the uids of cells to themselves: root builds the views, cells run in them, no other uid exists."""
    cells = f"{policy.uid_base} {policy.uid_base} {policy.uid_count}"
    for name in ("uid_map", "gid_map"):
        Path(f"/proc/{pid}/{name}").write_text(f"0 0 1\n{cells}\n", encoding="ascii")
