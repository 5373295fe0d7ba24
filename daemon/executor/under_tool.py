"""The first process of a cell whose kernel runs under one of NVIDIA's tools. Untrusted side, like the cell below it.

Theory of operation: the walls go up before the tool starts, so the tool, which reads what the code under test does, is
as confined as that code. Then the tool runs the cell as its child. Its report goes to a file in the cell's own /tmp,
and from there, when all has ended, into the memory that the judge gave us for it. The code under test has the tool's
uid and can write that file: what is in it is a claim, like all that comes out of a cell.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from daemon.executor.sandbox.confine import confine, die_with_parent

_CHUNK = 1 << 20


def main(argv: list[str]) -> int:
    """`argv`: JSON of `channel` and `report` (descriptors), `limits` (None without a sandbox), `report_file`,
    `report_bytes` and `command`."""
    plan: dict[str, Any] = json.loads(argv[0])
    _close_all_but(plan["channel"], plan["report"])
    if plan["limits"] is not None:
        confine(plan["limits"])
    else:
        die_with_parent()
    Path(os.environ["HOME"]).mkdir(parents=True, exist_ok=True)
    report = Path(os.environ["TMPDIR"], plan["report_file"])
    command = [str(report) if word == plan["report_file"] else word for word in plan["command"]]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(plan["channel"],)) as tool:
        os.close(plan["channel"])  # the cell's alone from now on: its end must be seen
        code = tool.wait()
    _hand_over(report, plan["report"], plan["report_bytes"])
    return code if code >= 0 else 128 - code


def _close_all_but(*kept: int) -> None:
    """Whatever the way here left open, beside the three streams."""
    bounds = [2, *sorted(kept), os.sysconf("SC_OPEN_MAX")]
    for before, after in itertools.pairwise(bounds):
        os.closerange(before + 1, after)


def _hand_over(path: Path, fd: int, limit_bytes: int) -> None:
    """The first `limit_bytes` of the report into `fd`. No report is an empty one."""
    offset = 0
    with suppress(OSError), path.open("rb") as report:
        while offset < limit_bytes and (data := report.read(min(_CHUNK, limit_bytes - offset))):
            offset += os.pwrite(fd, data, offset)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
