"""How a judge begins."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import ctypes, gc, signal, sys, types
from daemon.executor.programs import start

def main(argv):
    dies_by = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(dies_by), 0, 0, 0)  # PR_GET_PDEATHSIG
    print(argv, gc.isenabled(), gc.get_freeze_count() > 0, signal.Signals(dies_by.value).name)
    return 3

program = sys.modules["program"] = types.ModuleType("program")
program.main = main
sys.exit(start.main(["program", "1", "{}"]))
"""


def test_a_program_runs_bound_to_its_parent_with_the_collector_on_and_what_it_imported_set_apart() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "['1', '{}'] True True SIGKILL\n", "")
