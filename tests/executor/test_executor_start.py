"""How a judge begins."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc, sys, types
from daemon.executor import start

def main(argv):
    print(argv, gc.isenabled(), gc.get_freeze_count() > 0)
    return 3

program = sys.modules["program"] = types.ModuleType("program")
program.main = main
sys.exit(start.main(["program", "1", "{}"]))
"""


def test_a_program_runs_with_its_arguments_and_the_collector_and_what_it_imported_is_set_apart() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "['1', '{}'] True True\n", "")
