"""Compilers under attack: bombs, and sources or flags that reach for files of the host."""

from __future__ import annotations

import shutil
import textwrap

import pytest
from executor_bundles import JudgeOne, compare, forward, kernel
from faults_host import candidates

from daemon.verdict import Phase, Verdict

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="this host has no C compiler"),
]

BOMB = """
import subprocess
source = "#define A0 x x x x x x x x\\n"
for n in range(1, 12):
    source += f"#define A{n} " + f"A{n - 1} " * 8 + "\\n"
subprocess.run(["gcc", "-E", "-o", "/dev/null", "-xc", "-"], input=(source + "A11\\n").encode(), check=True)
"""
FORWARD = "class ModelNew(nn.Module):\n    def forward(self, a, b):\n        return a + b\n"


@pytest.mark.thorough  # ten seconds of a compiler; that builds have limits is seen in executor/test_executor_endings.py
def test_a_bomb_in_a_compiler_is_ended_by_the_limits_of_the_build_cell(judge: JudgeOne) -> None:
    judged = judge(compare(kernel(f"import torch\nfrom torch import nn\n{BOMB}{FORWARD}", "torch_cuda"), timeout=120))
    assert judged.verdict in (Verdict.OUT_OF_MEMORY, Verdict.COMPILE_ERROR, Verdict.TIMEOUT), judged.evaluation
    assert judged.failure.phase is Phase.BUILD
    assert "1024 MiB" in judged.message or judged.verdict is not Verdict.COMPILE_ERROR, judged.message
    assert candidates() == []


TRIES = {
    "include shadow": ('#include "/etc/shadow"', []),
    "include passwd": ("#include </etc/passwd>", []),
    "include home": ('#include "/root/.bashrc"', []),
    "incbin": ('asm(".incbin \\"/etc/shadow\\"");', []),
    "plugin of the host": ("int x;", ["-fplugin=/root/plugin.so"]),
    "spec file": ("int x;", ["-specs=/root/specs"]),
    "option file": ("int x;", ["@/etc/shadow", "-Werror"]),
    "write outside": ("int x;", ["-o", "/usr/lib/evil.o"]),
    "dump outside": ("int x;", ["-save-temps=obj", "-dumpdir", "/usr/"]),
    "control": ("int x;", []),
}


def test_no_source_and_no_flag_of_a_compiler_reads_or_writes_a_file_of_the_host(judge: JudgeOne) -> None:
    body = f"""
        import subprocess
        if not hasattr(self, "tried"):
            self.tried = True
            for name, (source, flags) in {TRIES!r}.items():
                out = [] if "-o" in flags else ["-o", "/usr/x.o" if "dumpdir" in str(flags) else "/tmp/x.o"]
                done = subprocess.run(["gcc", "-c", "-xc", "-", *out, *flags], input=source.encode(),
                                      capture_output=True, timeout=240)
                print(name + "=" + str(done.returncode), flush=True)
                print((done.stdout + done.stderr).decode(errors="replace")[:2000], flush=True)
        return a + b
        """
    judged = judge(compare(forward(textwrap.dedent(body)), timeout=300)).passed()
    ended = {name: judged.report[name] for name in TRIES}
    assert ended.pop("control") == "0", "the compiler itself works"
    assert {name: code for name, code in ended.items() if code == "0"} == {}
    assert "root:" not in judged.case.stdout_tail
