"""The first process of a cell whose kernel runs under one of NVIDIA's tools.

Theory of operation: the walls go up before the tool starts. So the tool, which reads what the code under test does, is
as confined as that code. Then the tool runs the cell as its child. Its report goes to a file in the cell's own /tmp,
and from there, when all has ended, into the memory that the judge gave us for it. The code under test has the tool's
uid and can write that file: what is in it is a claim, like all that comes out of a cell.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from daemon.executor.inside.confine import confine
from daemon.executor.inside.stage import close_all_but
from daemon.executor.shared.parent import die_with_parent
from daemon.executor.shared.protocol import CHANNEL

_CHUNK = 1 << 20


def main(argv: list[str]) -> int:
    """Without a sandbox, started as a program. `argv`: JSON of a plan as `run` takes it, with the descriptors
    `channel` and `report`."""
    plan: dict[str, Any] = json.loads(argv[0])
    close_all_but((0, 1, 2, plan["channel"], plan["report"]))
    die_with_parent()
    return run(plan, plan["channel"], plan["report"])


def run(plan: dict[str, Any], channel_fd: int, report_fd: int) -> int:
    """Run the tool to its end. `plan`: `limits` (None without a sandbox), `report_file`, `report_bytes`, and
    `command`, in which `CHANNEL` stands for the channel's number."""
    if plan["limits"] is not None:
        confine(plan["limits"])
    Path(os.environ["HOME"]).mkdir(parents=True, exist_ok=True)
    report = Path(os.environ["TMPDIR"], plan["report_file"])
    words = {plan["report_file"]: str(report), CHANNEL: str(channel_fd)}
    command = [words.get(word, word) for word in plan["command"]]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(channel_fd,)) as tool:
        os.close(channel_fd)  # the cell's alone from now on: its end must be seen
        code = tool.wait()
    _hand_over(report, report_fd, plan["report_bytes"])
    if code < 0:
        _end_by(-code)
    return code


def _end_by(number: int) -> None:
    """End as the tool did: by a signal."""
    with suppress(OSError):  # of those that nobody may handle
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _hand_over(path: Path, fd: int, limit_bytes: int) -> None:
    """The first `limit_bytes` of the report into `fd`. No report is an empty one."""
    offset = 0
    with suppress(OSError), path.open("rb") as report:
        while offset < limit_bytes and (data := report.read(min(_CHUNK, limit_bytes - offset))):
            offset += os.pwrite(fd, data, offset)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
