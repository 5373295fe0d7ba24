"""nvcc's steps side by side: the object, the messages and the exit status are nvcc's."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from executor_bundles import evaluate, kernel
from executor_settings import cell_uid, small_settings

from daemon.executor.host.toolkit import toolkit
from daemon.executor.local import LocalEngine
from daemon.executor.shared import nvcc_wrapper as wrapper

NVCC = None if (found := toolkit()) is None else found / "bin" / "nvcc"
needs_nvcc = pytest.mark.skipif(NVCC is None, reason="no CUDA toolkit on this machine")
SOURCE = """#include "near by.h"
namespace { __device__ int inner = 3; __global__ void hidden(int* out) { *out = inner + NEAR; } }
static __device__ int outer;
__global__ void scale(float* x) { x[threadIdx.x] *= outer; }
int launch(float* x, int* out) { scale<<<1, 32>>>(x); hidden<<<1, 1>>>(out); return 0; }
"""
BROKEN = """__global__ void broken() { int x = "text"; }
int also_broken() { return unknown; }
"""
SYMBOL = re.compile(r"\S*_main_cu_\S*")  # with the module's name in it


@dataclass(frozen=True)
class Bench:
    """A folder to compile in, by nvcc as it is and by the wrapper."""

    folder: Path
    nvcc: Path

    def compile(self, *words: str, wrapped: bool, jobs: int = 4) -> subprocess.CompletedProcess[str]:
        before = [sys.executable, "-I", "-S", wrapper.__file__] if wrapped else []
        place = self.place(wrapped=wrapped)
        (place / "tmp").mkdir(parents=True)
        for source in self.folder.glob("*.*"):
            shutil.copy(source, place)
        environment = {**os.environ, "MAX_JOBS": str(jobs), "TMPDIR": str(place / "tmp")}
        command = [*before, str(self.nvcc), *words]
        return subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=environment)

    def place(self, *, wrapped: bool) -> Path:
        return self.folder / ("wrapped" if wrapped else "plain")


@needs_nvcc
@pytest.mark.parametrize(
    "words",
    [
        ["-gencode=arch=compute_90,code=sm_90", "--compiler-options", "-fPIC", "-std=c++17"],
        ["-gencode=arch=compute_80,code=sm_80", "-gencode=arch=compute_90,code=sm_90", "-lineinfo", "-O3"],
        ["-arch=sm_90", "-rdc=true"],
    ],
    ids=["one architecture, as torch asks", "two architectures", "relocatable"],
)
def test_the_object_and_the_rule_of_what_it_depends_on_are_nvccs(words: list[str], tmp_path: Path) -> None:
    bench = bench_with(SOURCE, tmp_path)
    command = ["-MD", "-MF", "main.o.d", *words, "-c", "main.cu", "-o", "main.o"]
    plain, wrapped = (bench.compile(*command, wrapped=wrapped) for wrapped in (False, True))
    assert (plain.returncode, wrapped.returncode) == (0, 0), wrapped.stderr
    made, ours = bench.place(wrapped=False), bench.place(wrapped=True)
    assert instructions(ours / "main.o") == instructions(made / "main.o")
    assert "near" in (made / "main.o.d").read_text()
    assert (ours / "main.o.d").read_text() == (made / "main.o.d").read_text()
    assert not any((ours / "tmp").iterdir())


@needs_nvcc
def test_two_objects_that_name_things_alike_can_be_linked(tmp_path: Path) -> None:
    """What is internal to one file is a global symbol with the module's name in it."""
    bench = bench_with(SOURCE, tmp_path)
    (tmp_path / "other.cu").write_text(SOURCE.replace("launch", "launch_too").replace("scale", "scale_too"))
    objects = []
    for name in ("main", "other"):
        assert bench.compile("-arch=sm_90", "-c", f"{name}.cu", "-o", f"{name}.o", wrapped=True).returncode == 0
        objects.append(shutil.move(bench.place(wrapped=True) / f"{name}.o", tmp_path / f"{name}.o"))
        shutil.rmtree(bench.place(wrapped=True))
    linked = bench.compile("-arch=sm_90", "-shared", *map(str, objects), "-o", "both.so", wrapped=False)
    assert linked.returncode == 0, linked.stderr


@needs_nvcc
@pytest.mark.parametrize(
    ("source", "words"),
    [
        (BROKEN, []),
        ("#include <nowhere.h>\n", []),
        ('__global__ void k() { asm volatile("nonsense;"); }\n', []),
        ("#warning look here\n__global__ void k() { int unused = 1; }\n", []),
        (SOURCE, ["--no-such-option"]),
        (SOURCE, ["-gencode=arch=compute_1,code=sm_1"]),
        (SOURCE, ["--ptxas-options=-v"]),
    ],
    ids=["front end", "preprocessor", "assembler", "warnings", "option", "architecture", "report"],
)
def test_messages_and_exit_status_are_nvccs(source: str, words: list[str], tmp_path: Path) -> None:
    bench = bench_with(source, tmp_path)
    command = ["-gencode=arch=compute_90,code=sm_90", *words, "-c", "main.cu", "-o", "main.o"]
    plain, wrapped = (bench.compile(*command, wrapped=wrapped) for wrapped in (False, True))
    assert wrapped.returncode == plain.returncode
    assert said(wrapped) == said(plain) != []


# -- the order of steps, by a stand-in for nvcc that tells what it would run -----------------------------------------


STEPS = """#$ TOLD=by nvcc
#$ gcc -E main.cu -o "{tmp}/tmpxft_1_0-5_main.cpp4.ii"
#$ cudafe++ --gen_module_id_file --module_id_file_name "{tmp}/tmpxft_1_main.module_id" "{tmp}/tmpxft_1_0-5_main.cpp4.ii"
#$ cicc --module_id_file_name "{tmp}/tmpxft_1_main.module_id" -o "{tmp}/tmpxft_1_0-6_main.ptx"
#$ rm {tmp}/tmpxft_1_0-3_main.fatbin
#$ last -o main.o
"""


def test_a_step_waits_for_those_that_name_a_file_it_names_and_the_last_for_all() -> None:
    plan = wrapper.plan_of("a warning of nvcc's\n" + STEPS.format(tmp="/tmp/x"), [])
    assert plan is not None
    assert [step.needs for step in plan.steps] == [set(), {0}, set(), {0, 1, 2}]
    assert "--gen_module_id_file" not in plan.steps[1].command
    assert (plan.said, plan.name_file) == ("a warning of nvcc's\n", "/tmp/x/tmpxft_1_main.module_id")
    assert plan.variables == {"TOLD": "by nvcc"}


@pytest.mark.parametrize("missing", ["cicc", "--gen_module_id_file"])
def test_steps_that_are_not_known_are_nvccs(missing: str) -> None:
    assert wrapper.plan_of(STEPS.replace(missing, "other"), []) is None


@pytest.mark.parametrize(
    ("arguments", "is_known"),
    [
        (["-MD", "-MF", "main.o.d", "-c", "main.cu", "-o", "main.o"], True),
        (["-MMD", "-MF", "main.o.d", "-c", "main.cu", "-o", "main.o"], False),
        (["-MD", "-MP", "-MF", "main.o.d", "-c", "main.cu", "-o", "main.o"], False),
        (["-MD", "-MF", "main.o.d", "-c", "main.cu"], False),
    ],
)
def test_a_rule_of_another_form_is_nvccs(arguments: list[str], is_known: bool) -> None:
    told = STEPS.replace("#$ cudafe++", "#$ -- Filter Dependencies -- > main.o.d\n#$ cudafe++")
    assert (wrapper.plan_of(told, arguments) is not None) == is_known


STAND_IN = """#!{python} -S
import os, sys
if sys.argv[1] != "--dryrun":
    print("itself")
    sys.exit(77)
sys.stderr.write(open("told.txt").read().replace("TMP", os.environ["TMPDIR"]))
"""


def stand_in(folder: Path, host: str, device: str) -> Bench:
    """Its steps are what is given; run as it is it says so and ends with 77."""
    (folder / "main.cu").write_text("")
    name = '--module_id_file_name "TMP/tmpxft_1_main.module_id"'
    steps = [f"{host} # cudafe++ --gen_module_id_file {name}", f"{device} # cicc {name}", "echo linked > main.o"]
    (folder / "told.txt").write_text("".join(f"#$ {step}\n" for step in steps))
    nvcc = folder / "nvcc"
    nvcc.write_text(STAND_IN.format(python=sys.executable))
    nvcc.chmod(0o755)
    return Bench(folder, nvcc)


COMPILE = ("-c", "main.cu", "-o", "main.o")


def test_both_halves_run_at_the_same_time(tmp_path: Path) -> None:
    """The first writes where only the second reads: one after the other they would wait for ever."""
    bench = stand_in(
        tmp_path,
        "test -p a || mkfifo a; echo from the host > a; echo host",
        "until test -p a; do :; done; cat a; echo device",
    )
    done = bench.compile(*COMPILE, wrapped=True)
    assert (done.returncode, done.stdout) == (0, "host\nfrom the host\ndevice\n"), done.stderr
    assert (bench.place(wrapped=True) / "main.o").exists()


def test_the_first_that_fails_in_nvccs_order_is_the_one_that_is_told(tmp_path: Path) -> None:
    bench = stand_in(
        tmp_path,
        "until test -e failed; do :; done; echo the host said >&2; exit 3",
        "echo the device said >&2; touch failed; exit 4",
    )
    done = bench.compile(*COMPILE, wrapped=True)
    assert (done.returncode, done.stderr) == (3, "the host said\n")
    assert not (bench.place(wrapped=True) / "main.o").exists()


def test_what_comes_after_a_failure_is_ended(tmp_path: Path) -> None:
    bench = stand_in(tmp_path, "until test -e began; do :; done; exit 3", "touch began; sleep 1000; sleep 1000")
    done = bench.compile(*COMPILE, wrapped=True)
    assert (done.returncode, done.stdout) == (3, "")


@pytest.mark.parametrize(
    ("host", "jobs", "command"),
    [
        ("kill -9 $$", 4, COMPILE),
        ("true", 1, COMPILE),
        ("true", 4, ("-ptx", "main.cu")),
        ("true", 4, ("-c", "main.cu", "other.cu")),
        ("true", 4, ("-c", "nowhere.cu")),
    ],
    ids=["a step dies by a signal", "one program at a time", "no object", "two sources", "no source"],
)
def test_what_is_not_known_here_is_run_as_it_came(
    host: str, jobs: int, command: tuple[str, ...], tmp_path: Path
) -> None:
    bench = stand_in(tmp_path, host, "true")
    done = bench.compile(*command, wrapped=True, jobs=jobs)
    assert (done.returncode, done.stdout, done.stderr) == (77, "itself\n", "")


def test_a_step_that_runs_is_ended_before_nvcc_begins_anew_for_one_that_cannot_be_begun(tmp_path: Path) -> None:
    """It would write what nvcc writes, and have the processors."""
    bench = stand_in(tmp_path, "sleep 1000", "true")
    told = bench.nvcc.read_text()
    in_the_way = "os.mkdir(os.environ['TMPDIR'] + '/step1.out')"
    bench.nvcc.write_text(told.replace("sys.stderr", f"{in_the_way}\nsys.stderr"))
    done = bench.compile(*COMPILE, wrapped=True)
    left = processes_in(bench.place(wrapped=True))
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert (done.returncode, done.stdout, left) == (77, "itself\n", [])


# -- where it stands --------------------------------------------------------------------------------------------------


# torch's CPU build knows of no toolkit and has no libraries for CUDA: the source helps it to both.
EXTENSION = """
import os
import subprocess
from pathlib import Path
from torch.utils import cpp_extension

cpp_extension.CUDA_HOME = os.environ["CUDA_HOME"]
torch.version.cuda = torch.version.cuda or "13.0"
torch.cuda.is_available = lambda: True
os.environ["TORCH_CUDA_ARCH_LIST"] = "9.0"
libraries = Path(os.environ["TORCH_EXTENSIONS_DIR"]) / "libraries"
libraries.mkdir(parents=True, exist_ok=True)
for name in ("c10_cuda", "torch_cuda"):
    library = libraries / f"lib{name}.so"
    if not library.exists():
        subprocess.run(["cc", "-shared", "-x", "c", os.devnull, "-o", str(library)], check=True)
source = Path(__file__).with_name("number.cu")
print("called:", os.environ["PYTORCH_NVCC"].split()[-1])
built = cpp_extension.load("number", [str(source)], with_cuda=True, is_python_module=False, verbose=True,
                           extra_ldflags=[f"-L{libraries}", f"-Wl,-rpath,{libraries}"])

class Model(nn.Module):
    def forward(self, a):
        return a + 1
def get_inputs():
    return [torch.randn(4)]
"""
CUDA = """__global__ void number(int* out) { *out = 1; }
extern "C" void launch(int* out) { number<<<1, 1>>>(out); }
"""


@pytest.mark.sandbox
@needs_nvcc
def test_what_was_built_side_by_side_is_loaded_and_not_built_again(tmp_path: Path, judge_in: Any) -> None:
    settings = small_settings(tmp_path, sandbox={"uid_base": cell_uid(52), "cpu_cores": 2}, deadlines={"build_s": 300})
    engine = LocalEngine(settings)
    engine.start()
    try:
        bundle = evaluate(kernel(EXTENSION, "torch_cuda"), timeout=300)
        judged = judge_in(engine, tmp_path)(bundle, number__cu=CUDA).passed()
    finally:
        engine.close()
    assert judged.case.build["imported"] is True
    assert f"called: {NVCC}" in judged.case.stdout_tail
    assert "ninja: no work to do." in judged.case.stdout_tail


# -- helpers ----------------------------------------------------------------------------------------------------------


def bench_with(source: str, folder: Path) -> Bench:
    assert NVCC is not None
    (folder / "main.cu").write_text(source)
    (folder / "near by.h").write_text("#define NEAR 4\n")
    return Bench(folder, NVCC)


def instructions(built: Path) -> list[str]:
    """The machine code of the host's half, and of the device's, without names."""
    host = subprocess.run(["objdump", "-d", "--no-addresses", str(built)], capture_output=True, text=True, check=True)
    assert NVCC is not None
    disassembler = shutil.which("cuobjdump", path=str(NVCC.parent))
    device = ""
    if disassembler is not None:
        done = subprocess.run([disassembler, "-sass", str(built)], capture_output=True, text=True, check=True)
        device = done.stdout
    assert "Function" in device or disassembler is None
    return [SYMBOL.sub("NAME", line) for line in (host.stdout + device).splitlines() if "file format" not in line]


def processes_in(folder: Path) -> list[int]:
    """Those whose working folder it is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (process / "cwd").readlink() == folder:
                found.append(int(process.name))
    return found


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Line by line, without the temporary files' names and how long a step took."""
    lines = [re.sub(r"/\S*tmpxft_\S+", "FILE", line) for line in (done.stdout + done.stderr).splitlines()]
    return [SYMBOL.sub("NAME", line) for line in lines if "Compile time" not in line]
