"""The process that runs one kernel. The only file that touches bundle code; nothing it says is believed by the judge
but "done", and that only after the judge has looked.

Theory of operation: confined first (limits, system call filter), then torch is imported, then messages are served one
at a time:
`load` -> `construct` -> `export`/`write`/`adopt` (tensors out and in through memfds) -> `attach` (the arena) -> `run`
… until the judge kills it. A cell serves one kernel of one evaluation and is never reused.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from daemon.executor.inside.confine import confine
from daemon.executor.inside.stage import close_all_but
from daemon.executor.shared import protocol
from daemon.executor.shared.parent import die_with_parent


def main(argv: list[str]) -> int:
    """A cell that was started as a program: without a sandbox, or below a tool, where the walls stand already and the
    tool has descriptors of its own. `argv`: the descriptor of the channel, and the JSON of what it is."""
    walls: dict[str, Any] = json.loads(argv[1])
    if not walls.get("under_tool"):
        close_all_but((0, 1, 2, int(argv[0])))
        die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's to handle
    return run(int(argv[0]), walls)


def run(channel_fd: int, walls: dict[str, Any]) -> int:
    """Be a cell until the judge closes the channel. With `limits` among its walls it is confined first."""
    if walls.get("limits"):
        confine(walls["limits"])
    channel = socket.socket(fileno=channel_fd)
    os.set_inheritable(channel_fd, False)
    for name in ("HOME", "TORCH_EXTENSIONS_DIR", "TRITON_CACHE_DIR"):
        Path(os.environ[name]).mkdir(parents=True, exist_ok=True)
    gc.disable()  # while torch is imported, where no zygote has done it: nothing becomes garbage
    from daemon.executor.inside.workload import Workload

    paths = [Path(path) for path in walls["backend_paths"]]
    workload = Workload(
        threads=int(walls["threads"]),
        backend_paths=paths,
        device=walls["device"],
        tell=lambda message: protocol.send(channel, message),
        as_reference=bool(walls["as_reference"]),
        under_tool=bool(walls.get("under_tool")),
    )
    gc.collect()
    gc.freeze()  # what was imported is not looked through again in the middle of a timed call
    gc.enable()
    protocol.send(channel, {"type": "hello", "protocol": protocol.VERSION, **workload.versions()})
    serve(channel, workload)
    return 0


def serve(channel: socket.socket, workload: Any) -> None:
    """Answer messages until the judge closes the channel."""
    from daemon.executor.source import KernelFault, fault_from

    reader = protocol.Reader(protocol.MAX_TO_CELL)
    while True:
        try:
            message, fds = protocol.receive_with_fds(channel, reader)
        except protocol.ClosedError:
            return
        try:
            answer = workload.handle(message, fds)
        except KernelFault as fault:
            answer = _failed(fault)
        except BaseException as error:  # noqa: BLE001 - the cell's main: whatever the kernel raises is its verdict
            answer = _failed(fault_from(error, workload.folder, "runtime_error", f"in {message['type']}"))
        finally:
            for fd in fds:
                os.close(fd)
        flush()
        protocol.send(channel, answer)


def flush() -> None:
    """Write out what the kernel printed, before the judge may freeze or kill us. The kernel may have broken these
    streams: errors are ignored."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError, TypeError):
            stream.flush()


def _failed(fault: Any) -> protocol.Message:
    return {
        "type": "failed",
        "verdict": fault.verdict,
        "message": fault.message[:8192],
        "traceback": fault.details,
        "final": fault.final,
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
