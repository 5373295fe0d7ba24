"""What a cell may not reach, call, keep or outlive. One kernel tries everything; each test reads its lines."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from executor_bundles import Judged, JudgeOne, compare, forward, with_enough_time, write_bundle
from faults_host import candidates, groups_of_the_dead
from test_faults_bombs import once
from waiting import wait_for

from daemon.engine import JobSpec
from daemon.errors import HarnessError
from daemon.executor.host.processes import PlainProgram
from daemon.executor.local import LocalEngine
from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

CALLS = {  # x86_64's numbers, beyond those of test_executor_isolation
    "ptrace attach": "101, 16, child, 0, 0",
    "ptrace seize": "101, 0x4206, child, 0, 0",
    "process_vm_writev": "311, child, 0, 0, 0, 0, 0",
    "pidfd_getfd": "438, 0, 0, 0",
    "chroot": "161, b'/tmp'",
    "pivot_root": "155, b'/tmp', b'/tmp'",
    "umount": "166, b'/proc', 2",
    "open_tree": "428, -100, b'/', 1",
    "move_mount": "429, -100, b'/', -100, b'/tmp', 0",
    "fsopen": "430, b'tmpfs', 0",
    "fsmount": "432, 0, 0, 0",
    "mount_setattr": "442, -100, b'/', 0, 0, 0",
    "add_key": "248, b'user', b'x', b'y', 1, -3",
    "request_key": "249, b'user', b'x', 0, -3",
    "io_uring_enter": "426, 0, 1, 0, 0, 0, 0",
    "io_uring_register": "427, 0, 0, 0, 0",
    "open_by_handle_at": "304, -100, 0, 0",
    "init_module": "175, 0, 0, b''",
    "kexec_load": "246, 0, 0, 0, 0",
    "settimeofday": "164, 0, 0",
    "reboot": "169, 0xfee1dead, 672274793, 0, 0",
}
FLAGS = {"user": 0x10000000, "mount": 0x20000, "pid": 0x20000000, "net": 0x40000000, "ipc": 0x8000000, "uts": 0x4000000}
PROBES = r"""
import ctypes, errno, os, signal, socket, stat, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, action):
    try:
        text = "allowed:" + repr(action())
    except OSError as error:
        text = "refused:" + errno.errorcode.get(error.errno, str(error.errno))
    print(name + "=" + text.replace("\n", " ")[:200], flush=True)
def call(*args):
    if (result := libc.syscall(*args)) == -1:
        raise OSError(ctypes.get_errno(), "")
    return result
def run(*argv):
    done = subprocess.run(argv, capture_output=True, timeout=100, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise OSError(errno.EPERM, "")
    return done.stdout
def reach(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as s:
        s.settimeout(5)
        s.connect(address)
def put(path, text):
    fd = os.open(path, os.O_WRONLY)
    try:
        return os.write(fd, text.encode())
    finally:
        os.close(fd)
def mknod(path):
    os.mknod(path, 0o666 | stat.S_IFBLK, os.makedev(254, 0))
child = os.fork()
if child == 0:
    signal.pause()
"""


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, object]]:
    """A database-like server with a socket that has a path, one with an abstract name, and a secret beside them."""
    folder = tmp_path_factory.mktemp("host")
    (folder / "secret").write_text("the other job's source")
    with ExitStack() as stack:
        names = {"path": str(folder / ".s.PGSQL.5432"), "abstract": f"\0evald-test-{os.getpid()}"}
        for name in names.values():
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(name)
            server.listen()
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(name)  # control: from here it can be reached
        yield {**names, "folder": folder}


@pytest.fixture(scope="module")
def report(engine: LocalEngine, host: dict[str, object], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = host["folder"]
    body = [f"attempt({name!r}, lambda: call({args}))" for name, args in CALLS.items()]
    body += [f"attempt('unshare {name}', lambda: call(272, {flag}))" for name, flag in FLAGS.items()]
    body += [f"attempt('clone {name}', lambda: call(56, {flag} | 17, 0, 0, 0, 0))" for name, flag in FLAGS.items()]
    body += [
        f"attempt('socket path', lambda: reach(1, {host['path']!r}))",
        f"attempt('socket abstract', lambda: reach(1, {host['abstract']!r}))",
        f"attempt('secret', lambda: open({str(folder)!r} + '/secret').read())",
        f"attempt('write beside', lambda: open({str(folder)!r} + '/evil', 'w'))",
        "attempt('mknod', lambda: mknod('/tmp/disk'))",
        "attempt('sysctl', lambda: put('/proc/sys/kernel/core_pattern', '|/tmp/x'))",
        "attempt('oom score', lambda: put('/proc/self/oom_score_adj', '-1000'))",
        "attempt('uid map', lambda: put('/proc/self/uid_map', '0 0 1'))",
        "attempt('run unshare', lambda: run('unshare', '-Ur', 'true'))",
        "attempt('run mount', lambda: run('mount', '-t', 'tmpfs', 'x', '/tmp'))",
        "attempt('run su', lambda: run('su', '-c', 'true'))",
        "os.kill(child, 9)",
    ]
    bundle = write_bundle(tmp_path_factory.mktemp("walls"), once("\n".join(body), before=PROBES), {})
    return Judged(engine.evaluate(JobSpec("walls", "walls", bundle), lambda _: None)).passed().report


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers of the calls are x86_64's")
def test_calls_that_could_open_a_door_are_refused_every_one(report: dict[str, str]) -> None:
    names = [*CALLS, *(f"{way} {name}" for way in ("unshare", "clone") for name in FLAGS)]
    refusals = ("refused:EPERM", "refused:ENOSYS")
    assert {name: report.get(name) for name in names if report.get(name) not in refusals} == {}


@pytest.mark.parametrize(
    "what",
    ["socket path", "socket abstract", "secret", "write beside", "mknod", "sysctl", "oom score", "uid map"],
)
def test_a_database_socket_another_job_and_the_kernels_knobs_are_out_of_reach(
    report: dict[str, str], what: str
) -> None:
    assert report[what].startswith("refused:"), report[what]


@pytest.mark.parametrize("program", ["unshare", "mount", "su"])
def test_programs_that_are_set_uid_or_make_namespaces_gain_nothing(report: dict[str, str], program: str) -> None:
    assert report[f"run {program}"].startswith("refused:"), report[f"run {program}"]


def test_the_folders_of_the_host_are_the_same_after_a_kernel_that_writes_everywhere(
    judge: JudgeOne, host: dict[str, object], tmp_path: Path
) -> None:
    watched = [Path(str(host["folder"])), Path("/etc"), Path(sys.prefix) / "bin"]
    before = [tree_digest(folder) for folder in watched]
    places = [str(folder) for folder in watched] + ["/", "/usr/lib", "/dev", "/proc", "/sys", "/var/tmp", "/run"]
    body = f"""
        import os, pathlib
        for place in {places!r}:
            for act in (lambda p: p.mkdir(parents=True), lambda p: p.write_text("x"), lambda p: p.symlink_to("/")):
                try:
                    act(pathlib.Path(place) / "evil")
                    os.listdir(place)
                except OSError:
                    pass
        return a + b
        """
    judge(compare(forward(body), timeout=120)).passed()
    assert [tree_digest(folder) for folder in watched] == before
    (tmp_path / "x").touch()
    assert tree_digest(tmp_path) != tree_digest(Path("/etc")), "the digest can differ"


def tree_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        digest.update(f"{path}\0{status.st_mode}\0{status.st_size}\0{status.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def test_a_process_that_ends_while_a_child_holds_every_pipe_is_an_error_not_a_wait(judge: JudgeOne) -> None:
    """The child keeps stdout, stderr and the judge's channel open and ignores what it can."""
    body = (
        "import os, signal\nif os.fork() == 0:\n    os.setsid()\n    for number in (1, 2, 13, 15):\n"
        "        signal.signal(number, signal.SIG_IGN)\n    while True:\n        signal.pause()\nos._exit(0)"
    )
    judge(once(body)).ended(Verdict.RUNTIME_ERROR, "exit code 0")
    assert candidates() == []


def test_a_stopped_group_that_ignores_sigterm_is_killed_at_the_deadline_and_says_nothing_afterwards(
    judge: JudgeOne,
) -> None:
    """The whole group stops itself; a child that was told to wait writes an answer as long as it lives."""
    body = (
        "import os, signal\nsignal.signal(15, signal.SIG_IGN)\n"
        "channel = next(int(fd) for fd in os.listdir('/proc/self/fd')"
        " if os.path.exists('/proc/self/fd/' + fd) and os.readlink('/proc/self/fd/' + fd).startswith('socket:'))\n"
        "if os.fork() == 0:\n    os.setsid()\n    while True:\n        os.write(1, b'late ')\n"
        "os.killpg(0, signal.SIGSTOP)"
    )
    judged = with_enough_time(
        judge,
        lambda judged: judged.verdict is Verdict.TIMEOUT,
        lambda timeout_s: {**once(body), "timeout": timeout_s},
    ).ended(Verdict.TIMEOUT, "killed")
    assert judged.case.correctness is None and judged.case.timing is None
    assert candidates() == []
    wait_for(lambda: groups_of_the_dead() == [], "no group to be left")


def test_what_does_not_die_is_our_fault_and_its_process_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process stuck in the kernel, as far as one can be made here: the signal never reaches it."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    program = PlainProgram(process)
    try:
        with monkeypatch.context() as stuck:
            stuck.setattr("daemon.executor.host.processes.KILL_LIMIT_S", 0.2)
            stuck.setattr(PlainProgram, "_signal", lambda *_: None)
            with pytest.raises(HarnessError, match=f"process {process.pid} does not die"):
                program.kill()
        assert program.kill().signal == "SIGKILL"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.thorough  # that bombs are stopped by their limits is seen in test_faults_bombs.py
def test_a_neighbour_is_judged_right_while_a_bomb_goes_off_beside_it(engine: LocalEngine, tmp_path: Path) -> None:
    outcome: list[Judged] = []
    exploding = threading.Event()

    def progress(said: object) -> None:
        if "check" in str(said) or "measur" in str(said):
            exploding.set()

    def explode() -> None:
        bomb = "import os\nwhile True:\n    if os.fork() == 0:\n        while True:\n            bytearray(1 << 20)"
        bundle = write_bundle(tmp_path, {**once(bomb), "timeout": 60}, {})
        outcome.append(Judged(engine.evaluate(JobSpec("bomb", "bomb", bundle), progress)))
        exploding.set()

    thread = threading.Thread(target=explode)
    thread.start()
    try:
        assert exploding.wait(120)
        bundle = write_bundle(tmp_path, compare(forward("return a + b"), timeout=120), {})
        Judged(engine.evaluate(JobSpec("neighbour", "neighbour", bundle), lambda _: None)).passed()
    finally:
        thread.join(180)
    assert outcome[0].verdict in (Verdict.RUNTIME_ERROR, Verdict.TIMEOUT)
