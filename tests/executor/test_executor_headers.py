"""The precompiled header of torch's extensions: used where it fits, never in the way, and nobody's to change."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from executor_bundles import JudgeOne, evaluate, kernel
from executor_settings import cell_uid, small_settings

from daemon.errors import HarnessError
from daemon.executor.artifacts import headers
from daemon.executor.artifacts.builds import jobs_for
from daemon.executor.artifacts.headers import Headers
from daemon.executor.cells.settings import CellSettings
from daemon.executor.cells.starting import Cells
from daemon.executor.cells.zygotes import Zygotes
from daemon.executor.host.devices import choose
from daemon.executor.local import LocalEngine
from daemon.executor.sandbox import cgroup
from daemon.executor.shared import compiler_wrapper as wrapper
from daemon.verdict import Verdict

CXX = shutil.which("c++")
needs_compiler = pytest.mark.skipif(CXX is None, reason="no C++ compiler on this machine")
NAMED = "-DTORCH_EXTENSION_NAME=mine"
SOURCE = """#include <torch/extension.h>
#include <torch/extension.h>
#define TEXT_OF(name) #name
int answer(int x) {
  return twice(x) + size_of_size();
}
"""
TORCH = """#pragma once
#include <cstddef>
#ifdef SPECIAL
#error special
#endif
inline int twice(int x) { return 2 * x; }
inline int size_of_size() { return static_cast<int>(sizeof(std::size_t)); }
"""


@dataclass(frozen=True)
class Workshop:
    """A stand-in for torch, small enough to be compiled in no time, and a shelf with its header."""

    folder: Path
    flags: list[str]

    @property
    def shelf(self) -> Path:
        return self.folder / "shelf"

    def plain(self, *more: str, text: str = SOURCE) -> subprocess.CompletedProcess[str]:
        return self._run([str(CXX)], text, more, "plain.o")

    def wrapped(self, *more: str, text: str = SOURCE) -> subprocess.CompletedProcess[str]:
        return self._run(
            [sys.executable, "-I", "-S", wrapper.__file__, str(self.shelf), str(CXX)], text, more, "wrapped.o"
        )

    def _run(
        self, compiler: list[str], text: str, more: tuple[str, ...], output: str
    ) -> subprocess.CompletedProcess[str]:
        (self.folder / "main.cpp").write_text(text)
        command = [*compiler, "-MMD", "-MF", f"{output}.d", NAMED, *self.flags, *more, "-c", "main.cpp", "-o", output]
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(self.folder), "LANG": "C.UTF-8"}
        return subprocess.run(
            command, cwd=self.folder, capture_output=True, text=True, check=False, env=environment | self.surroundings
        )

    @property
    def surroundings(self) -> dict[str, str]:
        found = self.folder / "environment.json"
        return dict(json.loads(found.read_text())) if found.exists() else {}

    @property
    def log(self) -> list[dict[str, Any]]:
        found = self.folder / wrapper.LOG_NAME
        return [json.loads(line) for line in found.read_text().splitlines()] if found.exists() else []


@pytest.fixture(scope="module")
def first_workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    folder = tmp_path_factory.mktemp("workshop")
    system = folder / "system"
    (system / "torch").mkdir(parents=True)
    (system / "torch" / "extension.h").write_text(TORCH)
    made = Workshop(folder, ["-DTORCH_API_INCLUDE_EXTENSION_H", "-isystem", str(system), "-fPIC", "-std=c++20"])
    put_header(made, "")
    return made


@pytest.fixture
def workshop(first_workshop: Workshop, tmp_path: Path) -> Workshop:
    """A copy of the first one's shelf, to be spoiled."""
    shutil.copytree(first_workshop.shelf, tmp_path / "shelf")
    return Workshop(tmp_path, first_workshop.flags)


def put_header(workshop: Workshop, level: str) -> Path:
    """A header on the shelf, made as the cell makes it."""
    place = workshop.shelf / f"torch{level}" / "torch"
    place.mkdir(parents=True)
    source = workshop.folder / "one.h"
    source.write_text("#include <torch/extension.h>\n")
    flags = [*workshop.flags, *([level] if level else [])]
    header = place / "extension.h.gch"
    subprocess.run([str(CXX), *flags, "-x", "c++-header", str(source), "-o", str(header)], check=True)
    (place / "extension.h").write_text(headers._FORWARD)
    (place.parent / "flags.json").write_text(json.dumps(flags))
    return header


# -- the wrapper -----------------------------------------------------------------------------------------------------


@needs_compiler
def test_the_header_is_used_and_the_object_is_the_plain_compilers(workshop: Workshop) -> None:
    plain, wrapped = workshop.plain(), workshop.wrapped()
    assert (plain.returncode, wrapped.returncode) == (0, 0), wrapped.stderr
    assert workshop.log == [{"used": True, "wanted": None}]
    assert (workshop.folder / "plain.o").read_bytes() == (workshop.folder / "wrapped.o").read_bytes()
    # What ninja will hold against it in a cell without a shelf.
    assert (workshop.folder / "wrapped.o.d").read_text() == "wrapped.o: main.cpp\n"


@needs_compiler
@pytest.mark.parametrize(
    "text",
    [
        "#include <list>\n" + SOURCE,
        "#define SPECIAL_ENOUGH 1\n#define twice twice_as_much\n" + SOURCE,
        '#pragma GCC optimize("O3")\n' + SOURCE,
        "int early();\n" + SOURCE,
        '#include "torch/extension.h"\n' + SOURCE,
        "// \\\n" + SOURCE,
        "int answer(int x) { return x; }\n",
    ],
)
def test_a_source_that_begins_otherwise_is_compiled_plainly(workshop: Workshop, text: str) -> None:
    plain, wrapped = workshop.plain(text=text), workshop.wrapped(text=text)
    assert (wrapped.returncode, wrapped.stderr) == (plain.returncode, plain.stderr)
    assert workshop.log == [{"used": False, "wanted": None}]
    assert (workshop.folder / "plain.o").read_bytes() == (workshop.folder / "wrapped.o").read_bytes()


@needs_compiler
@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        (["-O3"], "-O3"),
        (["-O2"], "-O2"),
        (["-O2", "-O3"], None),
        (["-Ofast"], None),
        (["-DNDEBUG"], None),
        (["-g"], None),
        (["-std=c++17"], None),
        (["-I."], None),
        (["-march=native"], None),
        (["-Wall"], None),
    ],
)
def test_other_flags_are_compiled_plainly(workshop: Workshop, more: list[str], wanted: str | None) -> None:
    """A level that is the only difference is wished for."""
    assert workshop.wrapped(*more).returncode == workshop.plain(*more).returncode == 0
    assert workshop.log == [{"used": False, "wanted": wanted}]
    assert (workshop.folder / "plain.o").read_bytes() == (workshop.folder / "wrapped.o").read_bytes()


@needs_compiler
def test_comments_may_come_first(workshop: Workshop) -> None:
    text = "/* Copyright\n */ // twice\n\n  #  include  <torch/extension.h> // all of torch\n" + SOURCE
    assert workshop.wrapped(text=text).returncode == workshop.plain(text=text).returncode == 0
    assert workshop.log == [{"used": True, "wanted": None}]
    assert (workshop.folder / "plain.o").read_bytes() == (workshop.folder / "wrapped.o").read_bytes()


@needs_compiler
def test_each_level_has_a_header_of_its_own(workshop: Workshop) -> None:
    put_header(workshop, "-O3")
    assert workshop.wrapped("-O3").returncode == workshop.plain("-O3").returncode == 0
    assert workshop.log == [{"used": True, "wanted": None}]
    assert (workshop.folder / "plain.o").read_bytes() == (workshop.folder / "wrapped.o").read_bytes()


@needs_compiler
def test_with_an_empty_shelf_an_extension_says_what_it_would_have_used(workshop: Workshop) -> None:
    shutil.rmtree(workshop.shelf)
    assert workshop.wrapped("-O2").returncode == 0
    assert workshop.log == [{"used": False, "wanted": "-O2"}]


@needs_compiler
@pytest.mark.parametrize("wrong", ["return y;", "return twice(x, x);", "#include <nothing_like_this>", "return 1"])
def test_an_error_is_the_plain_compilers_word_for_word(workshop: Workshop, wrong: str) -> None:
    text = SOURCE.replace("return twice(x) + size_of_size();", f"\n{wrong}\n")
    plain, wrapped = workshop.plain(text=text), workshop.wrapped(text=text)
    assert (wrapped.returncode, wrapped.stderr, wrapped.stdout) == (plain.returncode, plain.stderr, plain.stdout)
    assert plain.returncode != 0 and "main.cpp:" in wrapped.stderr
    assert workshop.log == [{"used": False, "wanted": None}]


@needs_compiler
def test_a_warning_is_the_plain_compilers_too(workshop: Workshop) -> None:
    text = SOURCE.replace("return", "#warning look here\n  return")
    assert workshop.wrapped(text=text).stderr == workshop.plain(text=text).stderr != ""
    assert workshop.log == [{"used": True, "wanted": None}]


@needs_compiler
@pytest.mark.parametrize("damage", ["another compiler", "cut off", "empty", "gone", "unreadable flags"])
def test_a_header_that_does_not_fit_is_no_obstacle(workshop: Workshop, damage: str) -> None:
    header = workshop.shelf / "torch" / "torch" / "extension.h.gch"
    data = header.read_bytes()
    if damage == "another compiler":  # the identity of the one that made it follows eight bytes of magic
        header.write_bytes(data[:8] + bytes(16) + data[24:])
    elif damage == "cut off":
        header.write_bytes(data[: len(data) // 2])
    elif damage == "empty":
        header.write_bytes(b"")
    elif damage == "gone":
        header.unlink()
    else:
        (workshop.shelf / "torch" / "flags.json").write_text("{")
    plain, wrapped = workshop.plain(), workshop.wrapped()
    assert (wrapped.returncode, wrapped.stderr) == (0, "") == (plain.returncode, plain.stderr)
    assert not workshop.log[0]["used"]
    assert (workshop.folder / "plain.o").read_bytes() == (workshop.folder / "wrapped.o").read_bytes()


@needs_compiler
def test_an_environment_that_moves_headers_is_left_to_the_compiler(workshop: Workshop) -> None:
    (workshop.folder / "environment.json").write_text(json.dumps({"CPLUS_INCLUDE_PATH": str(workshop.folder)}))
    assert workshop.wrapped().returncode == 0
    assert workshop.log == [{"used": False, "wanted": None}]


@pytest.mark.parametrize(
    "command",
    [
        ["--version"],
        ["-dumpfullversion", "-dumpversion"],
        ["main.o", "-shared", "-o", "mine.so"],
        ["-c", "main.cu", "-o", "main.o"],
        ["-c", "one.cpp", "two.cpp"],
        ["-c", "-x", "c++", "main.txt"],
        ["-c", "@arguments"],
        ["-E", "main.cpp"],
    ],
)
def test_what_does_not_compile_one_file_has_no_flags(command: list[str]) -> None:
    assert wrapper.shared_flags(command) is None


def test_the_flags_of_a_command_are_all_but_what_differs_from_file_to_file() -> None:
    command = "-MMD -MF main.o.d -DTORCH_EXTENSION_NAME=mine -DA -isystem /x -fPIC -O2 -c /b/main.cpp -o main.o"
    assert wrapper.shared_flags(command.split()) == (["-DA", "-isystem", "/x", "-fPIC", "-O2"], "/b/main.cpp")
    renamed = wrapper.shared_flags(command.replace("NAME=mine", "NAME=a(b)").split())
    assert renamed is not None and "-DTORCH_EXTENSION_NAME=a(b)" in renamed[0]


# -- the shelf -------------------------------------------------------------------------------------------------------


class NoCells:
    """A host on which no cell comes up."""

    tried = 0

    def start(self, _side: object) -> NoReturn:
        self.tried += 1
        raise HarnessError("no cells today")


def shelf_in(folder: Path) -> Path:
    shelf = folder / "headers" / "key"
    shelf.mkdir(parents=True)
    return shelf


def stand_in(shelf: Path, name: str, size: int, made_s: int) -> Path:
    """What takes the place of a header of `size` bytes."""
    folder = shelf / name
    folder.mkdir(parents=True)
    (folder / "files.json").write_text(json.dumps({__file__: headers._stamp(Path(__file__))}))
    (folder / "extension.h.gch").write_bytes(bytes(size))
    os.utime(folder, (made_s, made_s))
    return folder


def kept(shelf: Path, cells: Any = None, limit_bytes: int = 1 << 20) -> Headers:
    return Headers(shelf, Path("/usr/bin/c++"), cells or NoCells(), limit_bytes)


def test_a_header_that_cannot_be_made_is_given_up_and_said_once(tmp_path: Path) -> None:
    cells = NoCells()
    made = kept(shelf_in(tmp_path), cells)
    for _ in range(4):
        made.heard({"precompiled_header_wanted": ""})
        made.prepare()
    assert cells.tried == 1
    assert not list((tmp_path / "headers" / "key").glob("*torch*"))


def test_one_extension_alone_is_not_worth_a_header(tmp_path: Path) -> None:
    cells = NoCells()
    made = kept(shelf_in(tmp_path), cells)
    for nonsense in (None, 3, ["-O3"], "-O9", "../../evil"):
        made.heard({"precompiled_header_wanted": nonsense})
    made.heard({"precompiled_header_wanted": "-O3"})
    made.prepare()
    assert cells.tried == 0
    made.heard({"precompiled_header_wanted": "-O3"})
    made.prepare()
    assert cells.tried == 1


def test_a_header_goes_when_a_file_it_was_made_from_has_changed(tmp_path: Path) -> None:
    shelf = shelf_in(tmp_path)
    fresh, stale, lost, broken = (stand_in(shelf, f"torch{level}", 10, 1) for level in ("", "-O1", "-O2", "-O3"))
    (stale / "files.json").write_text(json.dumps({__file__: [1, 1]}))
    (lost / "files.json").write_text(json.dumps({str(tmp_path / "nothing"): [1, 1]}))
    (broken / "files.json").write_text("{")
    kept(shelf).prepare()
    assert [folder.is_dir() for folder in (fresh, stale, lost, broken)] == [True, False, False, False]


def test_the_oldest_header_of_any_shelf_goes_when_there_are_too_many(tmp_path: Path) -> None:
    shelf, other = shelf_in(tmp_path), tmp_path / "headers" / "other"
    oldest, older = stand_in(other, "torch", 600, 1), stand_in(shelf, "torch", 600, 2)
    newest = stand_in(shelf, "torch-O3", 600, 3)
    kept(shelf, limit_bytes=1800)._make_room()
    assert [folder.is_dir() for folder in (oldest, older, newest)] == [False, True, True]
    kept(shelf, limit_bytes=10)._make_room()
    assert newest.is_dir() and not older.is_dir()  # the one just made stays


@pytest.mark.parametrize(("cores", "gpu", "jobs"), [(1, True, 1), (2, True, 2), (2, False, 1), (16, True, 15)])
def test_both_halves_compile_side_by_side_wherever_there_are_two_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cores: int, gpu: bool, jobs: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores))
    settings = small_settings(tmp_path)
    device = choose(settings)[0]
    assert jobs_for(settings, replace(device, kind="cuda") if gpu else device) == jobs


# -- in real cells ---------------------------------------------------------------------------------------------------

# No header of torch's at all: compiled in no time.
SMALL = """
from torch.utils.cpp_extension import load_inline
code = '''#include <Python.h>
static PyModuleDef mine = {PyModuleDef_HEAD_INIT, "small", nullptr, -1, nullptr};
PyMODINIT_FUNC PyInit_small() { return PyModule_Create(&mine); } // NUMBER
'''
small = load_inline(name="small", cpp_sources=code, no_implicit_headers=True)
class Model(nn.Module):
    def forward(self, a):
        return a + 1
def get_inputs():
    return [torch.randn(4)]
"""
# Its build cell attacks what it sees of the shelf; what came of that travels in the artifact.
TAMPERING = """
import os
from pathlib import Path
from torch.utils.cpp_extension import load_inline

def attempt(name, action):
    try:
        action()
        said.append(name + '=open')
    except OSError as error:
        said.append(name + '=' + type(error).__name__)

kept = Path(os.environ['TORCH_EXTENSIONS_DIR']) / 'said.txt'
if not kept.exists():
    shelf = Path(os.environ['PATH'].split(':')[0]).parent
    header = shelf / 'torch' / 'torch' / 'extension.h.gch'
    said = ['seen=%s' % (header.stat().st_size > 1 << 20)]
    for name, path in (('header', header), ('script', shelf / 'bin' / 'c++'), ('flags', shelf / 'torch/flags.json')):
        attempt(name + ' write', lambda: os.close(os.open(path, os.O_WRONLY)))
        attempt(name + ' chmod', lambda: path.chmod(0o666))
        attempt(name + ' unlink', path.unlink)
        attempt(name + ' replace', lambda: os.replace(__file__, path))
    attempt('folder', lambda: (shelf / 'torch-O3').mkdir())
    attempt('rename', lambda: (shelf / 'torch').rename(shelf / 'other'))
    attempt('parent', lambda: (shelf.parent / 'more').mkdir())
    attempt('times', lambda: os.utime(header))
    kept.write_text('\\n'.join(said))
print(kept.read_text(), flush=True)

code = '''
namespace py = pybind11;
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("one", [] { return 1; }); }
'''
extension = load_inline(name='plus', cpp_sources=code)
class Model(nn.Module):
    def forward(self, a):
        return a + extension.one()
def get_inputs():
    return [torch.randn(4)]
"""


@pytest.fixture(scope="module")
def own_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    home = tmp_path_factory.mktemp("headers")
    made = LocalEngine(small_settings(home, sandbox={"uid_base": cell_uid(40)}, deadlines={"build_s": 500}))
    made.start()
    yield made
    made.close()


@pytest.fixture
def own_judge(own_engine: LocalEngine, tmp_path: Path, judge_in: Any) -> JudgeOne:
    return judge_in(own_engine, tmp_path)


@pytest.fixture
def shelf(own_engine: LocalEngine) -> Path:
    [found] = [path for path in (own_engine._settings.paths.cache / headers.HEADERS).iterdir() if path.is_dir()]
    return found


def extension(source: str, **rest: Any) -> dict[str, Any]:
    return evaluate(kernel(source, "torch_cuda"), timeout=300, **rest)


@pytest.fixture
def header_maker(own_engine: LocalEngine, shelf: Path, request: pytest.FixtureRequest) -> Headers:
    """As a judge has one."""
    settings = own_engine._settings
    of = CellSettings.of(settings, choose(settings)[0], uid_step=2000, slot=0, threads=1, sees_device=False)
    zygotes = Zygotes()
    request.addfinalizer(zygotes.close)
    cells = Cells(replace(of, shelf=shelf), cgroup.find(), zygotes)
    return Headers(shelf, Path(str(CXX)), headers.roomy(cells), 1 << 31)


@pytest.mark.sandbox
@needs_compiler
def test_builds_work_where_no_header_can_be_made(own_judge: JudgeOne, shelf: Path) -> None:
    (shelf / ".wanted").write_text("..")
    (shelf / "torch").write_text("in the way of a folder")
    judged = own_judge(extension(SMALL)).passed()
    assert judged.case.build["precompiled_header"] is False
    (shelf / "torch").unlink()
    with shelf.with_name(f".{shelf.name}.lock").open("w") as lock:  # another judge is making it
        fcntl.flock(lock, fcntl.LOCK_EX)
        own_judge(extension(SMALL.replace("NUMBER", "2"))).passed()
    (shelf / ".wanted").unlink()
    assert not (shelf / "torch").exists()


@pytest.mark.sandbox
@needs_compiler
def test_what_the_compiler_refused_is_not_compiled_again(own_judge: JudgeOne) -> None:
    wrong = extension(SMALL.replace("return PyModule_Create(&mine)", "return nothing_like_this"))
    first, second = own_judge(wrong), own_judge(wrong)
    for judged, cached in ((first, False), (second, True)):
        judged.ended(Verdict.COMPILE_ERROR, "main.cpp:3:", "nothing_like_this")
        assert judged.case.build["cached"] is cached
        assert ("not compiled again" in " ".join(judged.case.notes)) is cached
    assert first.failure == second.failure


@pytest.mark.sandbox
@needs_compiler
def test_what_no_compiler_decided_is_built_anew(own_judge: JudgeOne) -> None:
    ended = "import subprocess\nraise subprocess.CalledProcessError(1, ['ninja'], b'{}')\n"
    for said in ("c++: fatal error: Killed signal terminated program cc1plus", "a.cpp:1:1: fatal error: disk full"):
        for _ in range(2):
            judged = own_judge(extension(ended.format(said))).ended(Verdict.COMPILE_ERROR, said)
            assert "cached" not in judged.case.build


@pytest.mark.sandbox
@needs_compiler
def test_an_extension_is_compiled_with_a_header_that_it_cannot_change(
    own_judge: JudgeOne, header_maker: Headers, shelf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header is made as always, of less: all of torch takes the better part of a minute (bench/builds.py)."""
    monkeypatch.setattr(headers, "_TEXT", "#include <pybind11/pybind11.h>\n")
    assert header_maker.make("")
    before = {path: headers._stamp(path) for path in shelf.rglob("*")}
    judged = own_judge(extension(TAMPERING)).passed()
    build = judged.case.build
    assert (build["precompiled_header"], build["cached"], build["imported"]) == (True, False, True)
    assert build["build_ms"] > 0
    report = judged.report
    assert report.pop("seen") == "True"
    assert len(report) > 12 and "open" not in report.values(), report
    assert before == {path: headers._stamp(path) for path in shelf.rglob("*")}
    assert any(name.endswith("pybind11/pybind11.h") for name in json.loads((shelf / "torch/files.json").read_text()))
    again = own_judge(extension(TAMPERING)).passed()  # nothing is compiled twice
    assert (again.case.build["precompiled_header"], again.case.build["cached"]) == (True, True)
