"""Cells are forked from one process, and share nothing of it that one of them could change."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from executor_bundles import JudgeOne, compare, forward
from executor_settings import cell_uid, small_settings
from waiting import wait_for

from daemon.config import Sandbox, Settings
from daemon.errors import HarnessError, Hindered
from daemon.executor.cells import zygotes
from daemon.executor.cells.conversation import Cell
from daemon.executor.cells.endings import CellFailed
from daemon.executor.cells.settings import CellSettings
from daemon.executor.cells.starting import Cells
from daemon.executor.cells.zygotes import Zygote, Zygotes
from daemon.executor.host import supervise
from daemon.executor.host.devices import CPU, Device, choose
from daemon.executor.host.forks import ForkedProgram
from daemon.executor.inside import zygote as zygote_process
from daemon.executor.sandbox import bubblewrap, cell_group, cgroup, owner
from daemon.executor.sandbox.policy import CellLimits, Policy
from daemon.executor.shared import protocol
from daemon.verdict import Phase, Side, Verdict

pytestmark = pytest.mark.sandbox

_GROUP = 54321
LOOK = r"""
import os, random, socket
import numpy as np
from pathlib import Path

def look():
    names = [Path('/proc/' + pid + '/comm').read_text().strip() for pid in os.listdir('/proc') if pid.isdigit()]
    print('processes=%d' % len(names), flush=True)
    print('drawn=%r' % ((random.random(), float(np.random.rand())),), flush=True)
    print('tmp=' + ','.join(sorted(os.listdir('/tmp') + os.listdir('/dev/shm'))), flush=True)
    try:
        name = b'\0evald-test'
        listening = socket.socket(socket.AF_UNIX); listening.bind(name)
        print('abstract=free', flush=True)
    except OSError as error:
        print('abstract=%s' % error, flush=True)
    for place in ('/proc/1/fd', '/proc/1/mem', '/proc/1/environ'):
        try:
            os.listdir(place) if place.endswith('fd') else open(place, 'rb').read(1)
            print('init ' + place + '=open', flush=True)
        except OSError as error:
            print('init ' + place + '=closed', flush=True)
"""


def looking(name: str) -> str:
    body = "if not hasattr(self, 'looked'):\n    self.looked = True\n    look()\nreturn a + b"
    return forward(body, before=LOOK).replace("class ModelNew", f"# {name}\nclass ModelNew")


class Kept:
    """Cells of one kind, and the zygotes behind them."""

    def __init__(self, home: Path, *, threads: int = 1, uid: int = 30, **settings: object) -> None:
        made = small_settings(home, sandbox={"uid_base": cell_uid(uid)}, **settings)
        self.zygotes = Zygotes()
        of = CellSettings.of(made, choose(made)[0], uid_step=0, slot=0, threads=threads)
        self.cells = Cells(of, cgroup.find(), self.zygotes)

    @property
    def zygote(self) -> Zygote:
        return self.zygotes.of(self.cells._policy(), 60)

    def start(self) -> Cell:
        cell = self.cells.start(Side.CANDIDATE)
        cell.greet()
        return cell


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    made = Kept(tmp_path_factory.mktemp("kept"))
    yield made
    made.zygotes.close()


def test_cells_come_from_one_zygote_and_each_ends_by_itself(kept: Kept) -> None:
    first, second = kept.start(), kept.start()
    zygote = kept.zygote
    assert first.kill().signal == "SIGKILL"
    assert second.program.poll() is None
    third = kept.start()
    assert kept.zygote is zygote
    for cell in (second, third):
        cell.kill()


def test_a_cell_leaves_no_descriptor_of_the_judge_open(kept: Kept) -> None:
    """A judge lives for weeks, and thousands of cells."""
    kept.start().kill()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(2):
        cell = kept.start()
        cell.program.freeze()
        cell.program.thaw()
        cell.kill()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def _pid_of(pidfd: int) -> str:
    lines = Path(f"/proc/self/fdinfo/{pidfd}").read_text("ascii").splitlines()
    return next(line.split()[1] for line in lines if line.startswith("Pid:"))


@pytest.mark.parametrize("namespace", ["ipc", "mnt", "net", "pid", "uts"])
def test_cells_that_live_at_the_same_time_share_no_namespace(kept: Kept, namespace: str) -> None:
    """Nor with their zygote or the host. A reference and its candidate live at the same time: through System V memory
    or an abstract socket one could tell the other what it has seen."""
    cells = [kept.start() for _ in range(2)]
    try:
        programs = (kept.zygote._program, *(cell.program for cell in cells))
        pids = ["self", *(_pid_of(program._init_fd) for program in programs)]  # type: ignore[union-attr]
        assert len({Path(f"/proc/{pid}/ns/{namespace}").readlink() for pid in pids}) == 4
    finally:
        for cell in cells:
            cell.kill()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may have other groups")
def test_a_cell_has_none_of_the_groups_of_whoever_started_evald(tmp_path: Path) -> None:
    """It could read what such a group may read. Where this test runs, there may be none to lose."""
    groups = os.getgroups()
    os.setgroups([_GROUP])
    made = Kept(tmp_path / "home", uid=34)
    try:
        cell = made.start()
        assert isinstance(cell.program, ForkedProgram)
        init = _pid_of(cell.program._init_fd)
        [child] = Path(f"/proc/{init}/task/{init}/children").read_text("ascii").split()
        found = {pid: Path(f"/proc/{pid}/status").read_text("utf-8") for pid in ("self", child)}
        assert f"Groups:\t{_GROUP}" in found["self"]
        assert "Groups:\t \n" in found[child]
        cell.kill()
    finally:
        os.setgroups(groups)
        made.zygotes.close()


def test_a_zygote_that_died_takes_its_cells_along_and_is_replaced(kept: Kept) -> None:
    cell = kept.start()
    before = kept.zygote
    signal.pidfd_send_signal(before._program._init_fd, signal.SIGKILL)
    ended = wait_for(cell.program.poll, "the cell's end")
    assert ended is not None and ended.signal == "SIGKILL"
    cell.kill()
    again = kept.start()
    assert kept.zygote is not before
    again.kill()


@pytest.mark.parametrize("whose", ["zygote", "cell"])
def test_who_was_killed_while_it_came_up_says_nothing_about_the_host(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, whose: str
) -> None:
    if whose == "zygote":
        coming = Zygote(kept.cells._policy(), 60)
        signal.pidfd_send_signal(coming._program._init_fd, signal.SIGKILL)
        with pytest.raises(Hindered, match="a cell did not start"):
            coming.await_ready()
        coming.close()
        return

    def stopped(*arguments: Any) -> ForkedProgram:
        """A program whose pid 1 is stopped before it is told to go on, so that its cell never comes up."""
        program = ForkedProgram(*arguments)
        signal.pidfd_send_signal(program._init_fd, signal.SIGSTOP)
        return program

    monkeypatch.setattr(zygotes, "ForkedProgram", stopped)
    cell = kept.cells.start(Side.CANDIDATE)
    assert isinstance(cell.program, ForkedProgram)
    assert not cell.is_up()
    signal.pidfd_send_signal(cell.program._init_fd, signal.SIGKILL)
    with pytest.raises(Hindered, match="a cell did not start"):
        cell.greet()


def test_a_zygote_that_was_late_is_waited_for_again(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    coming, receive = Zygote(kept.cells._policy(), 300), protocol.receive
    limits_s: list[float] = []

    def too_late(channel: socket.socket, reader: protocol.Reader) -> protocol.Message:
        limits_s.append(channel.gettimeout() or 0.0)
        if len(limits_s) == 1:
            coming._deadline = 0.0
            raise TimeoutError
        return receive(channel, reader)

    monkeypatch.setattr(zygotes, "protocol", SimpleNamespace(**{**vars(protocol), "receive": too_late}))
    with pytest.raises(Hindered, match="a cell did not start"):
        coming.await_ready()
    coming.await_ready()
    assert limits_s[1] > 60
    coming.close()


@pytest.mark.parametrize("whose", ["zygote", "cell"])
def test_a_cell_that_was_killed_from_outside_says_nothing_about_its_kernel(kept: Kept, whose: str) -> None:
    cell = kept.start()
    assert isinstance(cell.program, ForkedProgram)
    program = kept.zygote._program if whose == "zygote" else cell.program
    signal.pidfd_send_signal(program._init_fd, signal.SIGKILL)
    assert select.select([cell.program._init_fd], [], [], 120)[0]
    with pytest.raises(HarnessError, match="a cell was killed"):
        cell.request({"type": "detach"}, "detached", phase=Phase.LOAD, deadline=time.monotonic() + 120)
    assert cell.kill().from_outside


@pytest.mark.parametrize(("is_its_own", "is_oom"), [(True, True), (False, False)])
def test_a_cell_that_a_host_without_memory_took_is_not_to_blame(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, *, is_its_own: bool, is_oom: bool
) -> None:
    cell = kept.start()
    assert isinstance(cell.program, ForkedProgram)
    group = SimpleNamespace(
        oom_killed=lambda: True,
        wanted_too_much=lambda: is_its_own,
        processes_refused=lambda: 0,
        thaw=lambda: None,
        remove=(cell.program._group or SimpleNamespace(remove=lambda: None)).remove,
    )
    monkeypatch.setattr(cell.program, "_group", group)
    (child,) = cell.program._members()
    os.kill(child, signal.SIGKILL)
    with pytest.raises(CellFailed if is_its_own else HarnessError) as ended:
        cell.request({"type": "detach"}, "detached", phase=Phase.LOAD, deadline=time.monotonic() + 120)
    assert ("killed for want of memory" in str(ended.value)) is is_oom
    assert cell.kill().oom_killed is is_oom


@pytest.mark.parametrize(
    ("peak", "limit", "is_too_much"),
    [(96, 100, True), (100, 100, True), (90, 100, False), (500, 2000, True), (499, 2000, False)],
)
def test_who_is_at_the_limit_or_has_half_of_what_there_is_is_to_blame(
    peak: int, limit: int, *, is_too_much: bool
) -> None:
    assert cell_group.is_too_much(peak, limit, 1000) is is_too_much


def test_what_there_is_is_the_hosts_or_the_least_that_a_group_around_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cell_group, "ROOT", tmp_path)
    cell = tmp_path / "container" / "service" / "cells" / "cell"
    cell.mkdir(parents=True)
    host_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert cell_group.memory_around(cell, "memory.max") == host_bytes
    for place, limit in ((cell, 1), (cell.parent, "max"), (cell.parents[1], 5000), (cell.parents[2], 4000)):
        (place / "memory.max").write_text(f"{limit}\n")
    assert cell_group.memory_around(cell, "memory.max") == 4000


def test_who_asks_a_cell_that_is_dead_is_told_so(kept: Kept) -> None:
    cell = kept.start()
    ended = cell.kill()
    with pytest.raises(CellFailed, match="SIGKILL"):
        cell.request({"type": "detach"}, "detached", phase=Phase.LOAD, deadline=time.monotonic() + 120)
    assert cell.program.poll() == ended


def test_a_cell_that_ended_by_itself_or_was_ended_by_us_was_not_killed_from_outside(kept: Kept) -> None:
    struck = kept.start()
    ended = struck.kill()
    assert (ended.signal, ended.from_outside) == ("SIGKILL", False)
    shot = kept.start()
    assert isinstance(shot.program, ForkedProgram)
    (child,) = shot.program._members()
    os.kill(child, signal.SIGKILL)
    with pytest.raises(CellFailed, match="SIGKILL") as failed:
        shot.request({"type": "detach"}, "detached", phase=Phase.LOAD, deadline=time.monotonic() + 120)
    assert failed.value.verdict is Verdict.RUNTIME_ERROR
    assert not shot.kill().from_outside


@pytest.mark.parametrize("threads", [1, 8])
def test_a_cell_of_any_number_of_threads_can_be_forked(tmp_path: Path, threads: int) -> None:
    made = Kept(tmp_path / "home", threads=threads, uid=31)
    try:
        made.start().kill()
    finally:
        made.zygotes.close()


def test_a_process_with_a_second_thread_or_a_gpu_is_no_zygote(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait)
    thread.start()
    try:
        assert "thread" in str(zygote_process._uncleanness())
    finally:
        done.set()
        thread.join()
    monkeypatch.setattr(zygote_process.os, "listdir", lambda path: ["1"])
    monkeypatch.setattr(zygote_process.os, "readlink", lambda path: "/dev/nvidia0")
    assert "GPU" in str(zygote_process._uncleanness())


def test_cells_share_no_process_no_file_no_socket_and_no_chance(judge: JudgeOne) -> None:
    first, second = judge(compare(looking("first"))), judge(compare(looking("second")))
    for judged in (first, second):
        judged.passed()
        assert judged.report["processes"] == "2"  # itself, and the one that waits for it
        assert judged.report["abstract"] == "free"
        assert {key: value for key, value in judged.report.items() if key.startswith("init ")} == {
            "init /proc/1/fd": "closed",
            "init /proc/1/mem": "closed",
            "init /proc/1/environ": "closed",
        }
    assert first.report["drawn"] != second.report["drawn"]
    assert "left" not in second.report["tmp"]


def test_a_cell_finds_what_kernel_types_need_imported(judge: JudgeOne) -> None:
    names = [f"daemon.executor.backends.{name}" for name in ("torch", "triton", "cuda", "torch_cuda", "multi_kernel")]
    look = f"import sys\nprint('missing', [name for name in {names!r} if name not in sys.modules])"
    judged = judge(compare(forward("return a + b", before=look))).passed()
    assert "missing []" in judged.case.stdout_tail


def test_what_an_environment_has_below_tmp_stays_visible_and_cannot_be_written(tmp_path: Path) -> None:
    assert str(tmp_path).startswith("/tmp/")
    backends = tmp_path / "backends"
    backends.mkdir()
    tmp_path.chmod(0o755)
    (backends / "shown.py").write_text("SPEC = {'answers': 'either', 'devices': ('cpu',)}\n", "utf-8")
    made = Kept(tmp_path / "home", uid=32, backend_paths=(backends,))
    policy = made.cells._policy()
    assert policy.visible_below_tmpfs == (str(backends),)
    try:
        cell = made.start()
        (inside,) = [pid for pid in cell.program._members()]  # type: ignore[union-attr]
        shown = Path(f"/proc/{inside}/root{backends}")
        assert [path.name for path in shown.iterdir()] == ["shown.py"]
        mounts = Path(f"/proc/{inside}/mounts").read_text("utf-8").splitlines()
        *_, options = [line.split()[3] for line in mounts if line.split()[1] == str(backends)]
        assert "ro" in options.split(",")
        cell.kill()
    finally:
        made.zygotes.close()


def test_a_cuda_toolkit_is_shown_wherever_it_is_and_comes_first_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "cuda"
    for name in ("bin/nvcc", "include/cuda_runtime.h"):
        (home / name).parent.mkdir(parents=True)
        (home / name).touch()
    tmp_path.chmod(0o755)
    monkeypatch.setenv("CUDA_HOME", str(home))
    made = Kept(tmp_path / "home", uid=33)
    try:
        cell = made.start()
        (inside,) = [pid for pid in cell.program._members()]  # type: ignore[union-attr]
        environment = dict(item.split("=", 1) for item in Path(f"/proc/{inside}/environ").read_text().split("\0")[:-1])
        shown = Path(f"/proc/{inside}/root{environment['CUDA_HOME']}")
        assert (shown / "bin" / "nvcc").is_file()
        assert environment["PATH"].split(":")[1] == f"{home}/bin"
        cell.kill()
    finally:
        made.zygotes.close()


def test_only_what_lies_below_a_writable_folder_has_to_be_shown_again() -> None:
    limits = CellLimits(1, 1, 1, 1, 1, 1)
    policy = Policy(1, (Path("/usr"), Path("/tmp/env"), Path("/tmpfs"), Path("/dev/shm/x")), {}, limits)
    assert policy.visible_below_tmpfs == ("/tmp/env", "/dev/shm/x")


def test_a_cell_that_cannot_be_built_is_our_fault_and_leaves_nothing(kept: Kept) -> None:
    zygote = kept.zygote
    zygote.await_ready()
    before = set(Path("/proc/self/fd").iterdir())
    broken = zygote._order
    zygote._order = lambda birth: {**broken(birth), "uid": 2}  # type: ignore[method-assign] - a uid that is not mapped
    with pytest.raises(HarnessError, match="a cell did not start"):
        kept.start()
    zygote._order = broken  # type: ignore[method-assign]
    assert set(Path("/proc/self/fd").iterdir()) <= before
    cell = kept.start()
    with pytest.raises(CellFailed, match="_on_nonsense"):  # it is there, and answers
        cell.request({"type": "nonsense"}, "never", phase=Phase.LOAD, deadline=time.monotonic() + 120)
    cell.kill()


def test_why_a_group_does_not_take_a_cell_is_told_and_nothing_is_left_of_either(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = kept.cells._groups
    if groups is None:
        pytest.skip("no writable cgroup here")
    kind = cell_group.V1Group if groups.version == 1 else cell_group.V2Group
    take = kind.add

    def refuse(group: cell_group.CellGroup, pid: int) -> None:
        take(group, pid)  # type: ignore[arg-type]
        raise OSError(errno.EINVAL, "this process is none of mine")

    monkeypatch.setattr(kind, "add", refuse)
    owned = f"{owner.tag()}-*"
    before = {base: set(base.glob(owned)) for base in groups.bases.values()}
    with pytest.raises(HarnessError, match="none of mine"):
        kept.start()
    assert all(set(base.glob(owned)) <= there for base, there in before.items())


def test_a_cell_that_has_a_gpu_may_take_the_memory_that_is_set_for_those() -> None:
    settings = Settings(sandbox=Sandbox(memory_bytes=1 << 30, gpu_memory_bytes=3 << 30))
    gpu = Device(kind="cuda", index=0, uuid="GPU-0", name="none", capability=(9, 0))
    of = {device: CellSettings.of(settings, device, uid_step=0, slot=0, threads=1) for device in (CPU, gpu)}
    assert [one.limits.memory_bytes for one in of.values()] == [1 << 30, 3 << 30]


def test_for_a_gpu_the_zygote_has_loaded_tritons_compiler_and_is_still_one_that_can_be_forked(tmp_path: Path) -> None:
    """No GPU is needed: cells that build see none."""
    gpu = Device(kind="cuda", index=0, uuid="GPU-0", name="none", capability=(9, 0))
    settings = small_settings(tmp_path / "home", sandbox={"uid_base": cell_uid(32)})
    of = CellSettings.of(settings, gpu, uid_step=0, slot=0, threads=1, sees_device=False)
    zygotes = Zygotes()
    try:
        cells = Cells(of, cgroup.find(), zygotes)
        cell = cells.start(Side.CANDIDATE)
        cell.greet()
        maps = Path(f"/proc/{cell.program._init_pid}/maps").read_text("ascii")  # type: ignore[union-attr]
        assert "libtriton" in maps
        cell.kill()
    finally:
        zygotes.close()


def test_tritons_first_compilation_needs_no_gpu_and_starts_no_thread() -> None:
    program = (
        "import os; os.environ['OPENBLAS_NUM_THREADS'] = '1'\n"
        "import torch\nfrom daemon.executor.inside.triton_warmup import compile_once\n"
        "compile_once('9.0'); print(len(os.listdir('/proc/self/task')))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (ran.stdout.strip(), ran.returncode) == ("1", 0), ran.stderr


def test_what_triton_launches_with_is_compiled_without_much_optimizing() -> None:
    program = (
        "import subprocess\n"
        "from triton.backends.nvidia import driver\n"
        "from daemon.executor.inside.triton_warmup import compile_launchers_quickly\n"
        "def run(command, **_): print(*command); raise SystemExit\n"
        "subprocess.check_call = run\n"
        "compile_launchers_quickly()\n"
        "driver.compile_module_from_src(src='int x;', name='launcher')"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert [flag for flag in ran.stdout.split() if flag.startswith("-O")] == ["-O3", "-O1"], ran.stderr


def test_tritons_helper_is_made_once_however_often_it_is_asked_for() -> None:
    program = (
        "from unittest.mock import MagicMock\n"
        "from triton.backends.nvidia import driver\n"
        "from daemon.executor.inside.triton_warmup import load_helper\n"
        "driver.compile_module_from_src = made = MagicMock()\n"
        "driver.library_dirs = lambda: []\n"
        "load_helper()\n"
        "first, second = driver.CudaUtils(), driver.CudaUtils()\n"
        "print(made.call_count, first is second, first.load_binary is made.return_value.load_binary)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (ran.stdout.split(), ran.returncode) == (["1", "True", "True"], 0), ran.stderr


def test_a_sandbox_that_cannot_be_started_leaves_no_descriptor_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_processes(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "no more processes")

    monkeypatch.setattr(supervise.subprocess, "Popen", no_processes)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with pytest.raises(HarnessError, match="no more processes"):
            supervise.start_sandboxed(_some_policy(), ["true"], keep_fds=(), timeout_s=5)
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


@pytest.mark.timeout(60)
def test_a_sandbox_that_is_not_there_in_time_is_given_up_although_its_child_waits_at_a_gate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bubblewrap's child waits for its uids, and has the streams of whoever is killed."""

    def waiting(*_: object, gate_fd: int, **__: object) -> list[str]:
        return ["bash", "-c", f"cat <&{gate_fd} & wait"]

    monkeypatch.setattr(bubblewrap, "command", waiting)
    with pytest.raises(Hindered, match=r"could not be built: bubblewrap had not built the sandbox within 0\.2 s"):
        supervise.start_sandboxed(_some_policy(), ["true"], keep_fds=(), timeout_s=0.2)


@pytest.mark.parametrize(
    ("end", "kind"), [("kill -KILL $$", Hindered), ("exit 1", HarnessError)], ids=["killed", "unfit"]
)
def test_a_host_whose_bubblewrap_is_killed_is_not_said_to_be_unfit(
    monkeypatch: pytest.MonkeyPatch, end: str, kind: type[HarnessError]
) -> None:
    monkeypatch.setattr(bubblewrap, "command", lambda *_, **__: ["bash", "-c", end])
    with pytest.raises(HarnessError, match="could not be built") as raised:
        supervise.start_sandboxed(_some_policy(), ["true"], keep_fds=(), timeout_s=60)
    assert type(raised.value) is kind


def test_a_cell_that_a_limit_of_the_shell_forbids_is_told_with_the_limit(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(zygotes, "_pipe", refused)
    with pytest.raises(HarnessError, match="could not be forked") as caught:
        kept.start()
    assert str(caught.value.hint).startswith("ulimit -n ")

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        for reason, hint in (("BlockingIOError: [Errno 11] not now", "ulimit -u "), ("it has none", "evald doctor")):
            theirs.send(f"failed {reason}".encode())
            birth: Any = SimpleNamespace(timeout_s=120, group=None)
            with pytest.raises(HarnessError, match="could not be forked") as caught:
                kept.zygote._raise_up(birth, ours, -1, -1)
            assert str(caught.value.hint).startswith(hint)


def test_a_sandbox_that_a_limit_of_the_shell_forbids_is_told_with_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> tuple[int, int]:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pipe", refused)
    with pytest.raises(HarnessError, match="could not be built") as caught:
        supervise.start_sandboxed(_some_policy(), ["true"], keep_fds=(), timeout_s=5)
    assert str(caught.value.hint).startswith("ulimit -n ")


def _some_policy() -> Policy:
    limits = CellLimits(1 << 30, 10, 10, 1 << 20, 1 << 20, 100)
    return Policy(uid_base=cell_uid(52), read_only=(), environment={}, limits=limits)
