"""What code in a cell can reach. One kernel tries everything and prints what happened; each test reads one line."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from executor_bundles import JudgeOne, compare, forward
from executor_settings import cell_uid, uids_from

from daemon.config import Sandbox
from daemon.executor.local import LocalEngine
from daemon.executor.sandbox.policy import UID_COUNT, UIDS_PER_SLOT, UidStep
from daemon.verdict import Verdict

pytestmark = pytest.mark.sandbox

CAP_SYS_RESOURCE = 1 << 24

SPARES = Sandbox().spare_cells

PROBES = r"""
import ctypes, errno, fcntl, mmap, os, resource, signal, socket, struct, sys
from pathlib import Path
libc = ctypes.CDLL(None, use_errno=True)

def attempt(name, action):
    try:
        result = action()
        text = "allowed:" + repr(result)
    except OSError as error:
        text = "refused:" + errno.errorcode.get(error.errno, str(error.errno))
    except BaseException as error:
        text = "refused:" + type(error).__name__
    print(name + "=" + text.replace("\n", " ")[:300], flush=True)

# The numbers of x86_64 stand below. Those from 424 on are the same everywhere.
ON_AARCH64 = {
    27: 232, 29: 194, 37: 103, 38: 103, 56: 220, 64: 190, 68: 186, 74: 82, 75: 83, 101: 117, 157: 167, 160: 164,
    162: 81, 165: 40, 206: 0, 222: 107, 237: 235, 240: 180, 250: 219, 272: 97, 277: 84, 283: 85, 289: 74, 294: 26,
    298: 241, 306: 267, 308: 268, 310: 270, 314: 274, 321: 280, 323: 282,
}  # 37: it has no alarm(2), which goes by what setitimer(2) sets

def syscall(number, *args):
    if os.uname().machine == "aarch64" and number < 424:
        number = ON_AARCH64[number]
    result = libc.syscall(number, *args)
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return result

def listing(path):
    return os.listdir(path)

def written(path):
    with open(path, "w") as stream:
        stream.write("x")

def raised(which, value):
    resource.setrlimit(which, (value, value))

def probe(secret):
    attempt("root", lambda: listing("/root/.cargo"))
    attempt("shadow", lambda: open("/etc/shadow").read())
    attempt("home", lambda: listing("/home"))
    attempt("state", lambda: listing(secret))
    attempt("postgres", lambda: listing("/var/run/postgresql"))
    attempt("var", lambda: listing("/var"))
    attempt("terminals", lambda: os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY))
    attempt("cgroupfs", lambda: listing("/sys/fs/cgroup"))
    for place in ("/", "/usr", "/etc", "/root", "/dev", os.path.dirname(torch.__file__)):
        attempt("write " + place.replace(os.path.dirname(torch.__file__), "torch"), lambda: written(place + "/evil"))
    for name, family in (("inet", 2), ("inet6", 10), ("netlink", 16), ("packet", 17), ("alg", 38), ("vsock", 40)):
        kind = socket.SOCK_STREAM if family in (2, 10, 40) else socket.SOCK_RAW
        attempt("socket " + name, lambda: socket.socket(family, kind))
    attempt("ptrace", lambda: syscall(101, 16, 1, 0, 0))
    attempt("process_vm_readv", lambda: syscall(310, 1, 0, 0, 0, 0, 0))
    attempt("mount", lambda: syscall(165, b"tmpfs", b"/tmp", b"tmpfs", 0, 0))
    attempt("unshare", lambda: syscall(272, 0x10000000))
    attempt("clone newuser", lambda: syscall(56, 0x10000000 | 17, 0, 0, 0, 0))
    attempt("clone3", lambda: syscall(435, 0, 0))
    attempt("bpf", lambda: syscall(321, 0, 0, 0))
    attempt("io_uring", lambda: syscall(425, 1, 0))
    attempt("userfaultfd", lambda: syscall(323, 0))
    attempt("keyctl", lambda: syscall(250, 0, 0, 0, 0, 0))
    attempt("perf", lambda: syscall(298, 0, 0, -1, -1, 0))
    attempt("timer_create", lambda: syscall(222, 1, 0, ctypes.byref(ctypes.c_int())))
    attempt("timerfd", lambda: syscall(283, 1, 0))
    attempt("signalfd", lambda: syscall(289, -1, bytes(8), 8, 0))
    attempt("pidfd", lambda: os.pidfd_open(os.getpid()))
    attempt("child's pidfd", lambda: syscall(56, 0x1011, 0, ctypes.byref(ctypes.c_int()), 0, 0))
    attempt("peer's pidfd", lambda: socket.socketpair()[0].getsockopt(socket.SOL_SOCKET, 77))
    attempt("alarm", lambda: syscall(37, 0))
    attempt("interval timer", lambda: syscall(38, 0, struct.pack("4q", 0, 0, 0, 0), 0))
    attempt("interval timer of its own time", lambda: syscall(38, 2, struct.pack("4q", 0, 0, 0, 0), 0))
    pages = mmap.mmap(-1, 8192)
    attempt("madvise mergeable", lambda: pages.madvise(12))
    attempt("madvise", lambda: pages.madvise(4))
    attempt("madvise collapse", lambda: pages.madvise(25))
    attempt("huge pages", lambda: mmap.mmap(-1, 2 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000))
    attempt("huge file", lambda: os.memfd_create("huge", os.MFD_HUGETLB))
    attempt("large segment", lambda: syscall(29, 0, 2 << 20, 0o1600))
    attempt("semaphores", lambda: syscall(64, 0, 1, 0o1600))
    attempt("segment", lambda: syscall(29, 0, 4096, 0o1600) >= 0)
    attempt("huge segment", lambda: syscall(29, 0, 2 << 20, 0o5600))
    attempt("looked up", lambda: syscall(437, -100, b"/usr/nothing", struct.pack("QQQ", os.O_PATH, 0, 0x20), 24))
    attempt("call of tomorrow", lambda: syscall(499, 0))
    attempt("merge memory", lambda: syscall(157, 67, 1, 0, 0, 0))
    attempt("clock of its own", lambda: syscall(314, 0, struct.pack("IIQiI3Q2I", 56, 0, 56, 0, 0, 0, 0, 0, 9, 9), 0))
    attempt("io_setup", lambda: syscall(206, 1, ctypes.byref(ctypes.c_ulong())))
    attempt("inotify", lambda: syscall(294, 0))
    attempt("mq_open", lambda: syscall(240, b"q", os.O_CREAT | os.O_RDWR, 0o600, 0))
    attempt("memory policy", lambda: syscall(237, 0, 0, 0, 0, 0, 0))
    attempt("message queue", lambda: syscall(68, 0, 0o1600))
    attempt("landlock", lambda: syscall(444, struct.pack("QQ", 0, 3), 16, 0))
    disk = os.open("/usr", os.O_RDONLY)
    for name, number in (("sync", 162), ("syncfs", 306), ("fsync", 74), ("fdatasync", 75), ("sync_file_range", 277)):
        attempt(name, lambda: syscall(number, disk, 0, 0, 0))
        attempt(name + " of nothing", lambda: syscall(number, -1, 0, 0, 0))
    attempt("map of a file system", lambda: fcntl.ioctl(disk, 0xC0C0583B, bytearray(192)))
    attempt("flush of btrfs", lambda: fcntl.ioctl(disk, 0x9408))
    attempt("flush of btrfs, later", lambda: fcntl.ioctl(disk, 0x80089418, bytearray(8)))
    attempt("key of a file system", lambda: fcntl.ioctl(disk, 0xC0506617, bytearray(80)))
    print("file systems=" + ",".join(os.listdir("/proc/fs") if os.path.isdir("/proc/fs") else []))
    for name, how in (("f_getlk", fcntl.F_GETLK), ("f_setlease", fcntl.F_SETLEASE), ("f_notify", fcntl.F_NOTIFY)):
        attempt(name, lambda: fcntl.fcntl(disk, how, 0))
    os.close(disk)
    shared = os.open(os.__file__, os.O_RDONLY)
    attempt("flock", lambda: fcntl.flock(shared, fcntl.LOCK_EX | fcntl.LOCK_NB))
    attempt("lockf", lambda: fcntl.lockf(shared, fcntl.LOCK_SH | fcntl.LOCK_NB))
    others = os.open(os.__file__, os.O_RDONLY)
    attempt("flock as well", lambda: fcntl.flock(others, fcntl.LOCK_EX | fcntl.LOCK_NB))
    print("locks=" + str(os.path.samefile("/proc/locks", "/dev/null")))
    os.close(shared)
    os.close(others)
    pages, told = ctypes.create_string_buffer(8192), ctypes.create_string_buffer(b"?")
    page = ctypes.c_void_p(ctypes.addressof(pages) + 4095 & ~4095)
    attempt("mincore", lambda: (syscall(27, page, 4096, told), told.value))
    attempt("past the cache", lambda: os.open(os.__file__, os.O_RDONLY | os.O_DIRECT))
    reading = os.open(os.__file__, os.O_RDONLY)
    attempt("past the cache, later", lambda: fcntl.fcntl(reading, fcntl.F_SETFL, os.O_DIRECT))
    os.posix_fadvise(reading, 0, 0, os.POSIX_FADV_WILLNEED)
    os.close(reading)
    print("named=" + str((syscall(157, 0x53564D41, 0, page, 4096, b"x"), "[anon:x]" in open("/proc/self/maps").read())))
    attempt("memfd_secret", lambda: syscall(447, 0))
    attempt("pressure", lambda: open("/proc/pressure/cpu", "r+").write("some 500000 1000000"))
    attempt("socketpair tipc", lambda: socket.socketpair(30, socket.SOCK_STREAM))
    ours, theirs = socket.socketpair()
    attempt("out of band", lambda: ours.send(b"x", socket.MSG_OOB))
    attempt("out of band message", lambda: ours.sendmsg([b"x"], [], socket.MSG_OOB))
    attempt("in band", lambda: ours.send(b"x"))
    for name, command in (("vlan", 0x8982), ("bridge", 0x8940), ("interfaces", 0x8912), ("wireless", 0x8BFF)):
        attempt("ioctl " + name, lambda: fcntl.ioctl(ours, command, bytearray(256)))
    attempt("ioctl below", lambda: fcntl.ioctl(ours, 0x8903, bytearray(4)))
    attempt("ioctl beyond", lambda: fcntl.ioctl(ours, 0x8C00, bytearray(4)))
    attempt("bytes that came", lambda: fcntl.ioctl(theirs, 0x541B, bytearray(4)))
    allowing = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 1))
    attempt("socket filter", lambda: ours.setsockopt(1, 26, struct.pack("HxxxxxxQ", 1, ctypes.addressof(allowing))))
    ours.close(), theirs.close()
    attempt("f_setsig", lambda: fcntl.fcntl(0, 10, signal.SIGCONT))
    attempt("setns", lambda: syscall(308, 0, 0))
    attempt("setuid", lambda: os.setuid(0))
    attempt("setgid", lambda: os.setgid(0))
    attempt("nofile", lambda: raised(resource.RLIMIT_NOFILE, 100000))
    attempt("nproc", lambda: raised(resource.RLIMIT_NPROC, 100000))
    attempt("core raised", lambda: raised(resource.RLIMIT_CORE, 1 << 20))
    attempt("core lowered", lambda: raised(resource.RLIMIT_CORE, 0))
    attempt("core by another call", lambda: syscall(160, resource.RLIMIT_CORE, struct.pack("QQ", 0, 0)))
    attempt("limits of pid 1", lambda: resource.prlimit(1, resource.RLIMIT_CPU, (1, 1)))
    attempt("own limits", lambda: resource.prlimit(0, resource.RLIMIT_CPU))
    attempt("clone for the parent", lambda: syscall(56, 0x8000 | 17, 0, 0, 0, 0))
    attempt("core limit", lambda: resource.getrlimit(resource.RLIMIT_CORE)[0])
    attempt("priorities", lambda: list(map(resource.getrlimit, (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO))))
    attempt("first to go", lambda: open("/proc/self/oom_score_adj").read().strip())
    attempt("go last", lambda: Path("/proc/self/oom_score_adj").write_text("0"))
    attempt("kill init", lambda: os.kill(1, signal.SIGKILL))
    attempt("mem of init", lambda: open("/proc/1/mem", "rb").read(1))
    attempt("environ of init", lambda: open("/proc/1/environ", "rb").read())
    status = dict(line.split(":\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\t" in line)
    for key in ("Uid", "Gid", "Groups", "CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp"):
        print("status " + key + "=" + status.get(key, "").strip().replace("\t", " "))
    names = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            names.append(Path("/proc/" + pid + "/comm").read_text().strip())
        except OSError:
            pass
    print("processes=" + ",".join(sorted(names)))
    print("environment=" + ",".join(sorted(os.environ)))
    open_now = {}
    for fd in os.listdir("/proc/self/fd"):
        try:
            open_now[int(fd)] = os.readlink("/proc/self/fd/" + fd)
        except OSError:
            pass
    held = [target if "memfd" in target else target.split(":")[0] for target in open_now.values()]
    print("descriptors=" + "|".join(sorted(held)))
    print("interfaces=" + ",".join(line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line))
    print("hostname=" + socket.gethostname())
    print("leftovers=" + ",".join(sorted(os.listdir("/tmp") + os.listdir("/dev/shm"))))
    open("/tmp/left-behind", "w").close(); open("/dev/shm/left-behind", "w").close()
"""


def source(secret: Path) -> str:
    body = f"if not hasattr(self, 'tried'):\n    self.tried = True\n    probe({str(secret)!r})\nreturn a + b"
    return forward(body, before=PROBES)


@pytest.fixture(scope="module")
def report(
    engine: LocalEngine,
    engine_home: Path,
    tmp_path_factory: pytest.TempPathFactory,
    judge_in: Callable[[LocalEngine, Path], JudgeOne],
) -> dict[str, str]:
    judged = judge_in(engine, tmp_path_factory.mktemp("probes"))(compare(source(engine_home / "state")))
    judged.passed()
    return judged.report


@pytest.mark.parametrize("name", ["root", "shadow", "home", "state", "postgres", "var", "cgroupfs", "mem of init"])
def test_files_of_the_host_cannot_be_read(report: dict[str, str], name: str) -> None:
    assert report[name].startswith("refused:"), report[name]


def test_no_terminal_can_be_had_for_the_host_counts_them(report: dict[str, str]) -> None:
    assert report["terminals"].startswith("refused:"), report["terminals"]


@pytest.mark.parametrize("place", ["/", "/usr", "/etc", "/root", "/dev", "torch"])
def test_nothing_outside_tmp_can_be_written(report: dict[str, str], place: str) -> None:
    assert report[f"write {place}"].startswith("refused:"), report[f"write {place}"]


@pytest.mark.parametrize("family", ["inet", "inet6", "netlink", "packet", "alg", "vsock"])
def test_no_socket_but_a_unix_one_can_be_made(report: dict[str, str], family: str) -> None:
    assert report[f"socket {family}"] == "refused:EPERM"


@pytest.mark.parametrize(
    "call",
    [
        "ptrace",
        "process_vm_readv",
        "mount",
        "unshare",
        "clone newuser",
        "bpf",
        "io_uring",
        "userfaultfd",
        "keyctl",
        "perf",
        "setns",
        "timer_create",
        "timerfd",
        "signalfd",
        "pidfd",
        "child's pidfd",
        "peer's pidfd",
        "alarm",
        "interval timer",
        "madvise mergeable",
        "madvise collapse",
        "huge pages",
        "huge file",
        "huge segment",
        "large segment",
        "semaphores",
        "merge memory",
        "clock of its own",
        "io_setup",
        "inotify",
        "mq_open",
        "memory policy",
        "message queue",
        "landlock",
        "f_setsig",
        "f_getlk",
        "f_setlease",
        "f_notify",
        "map of a file system",
        "flush of btrfs",
        "flush of btrfs, later",
        "key of a file system",
        "ioctl vlan",
        "ioctl bridge",
        "ioctl interfaces",
        "ioctl wireless",
        "past the cache",
        "past the cache, later",
        "memfd_secret",
        "socketpair tipc",
        "out of band",
        "out of band message",
        "socket filter",
    ],
)
def test_a_dangerous_system_call_is_refused(report: dict[str, str], call: str) -> None:
    assert report[call] == "refused:EPERM"
    assert report["in band"] == "allowed:1"
    assert report["bytes that came"] == "allowed:0"
    assert report["ioctl below"] == "allowed:0"
    assert report["ioctl beyond"] == "refused:ENOTTY"
    assert report["madvise"] == "allowed:None"
    assert report["segment"] == "allowed:True"
    assert report["interval timer of its own time"] == "allowed:0"


@pytest.mark.parametrize("call", ["looked up", "call of tomorrow"])
def test_a_call_whose_purpose_cannot_be_told_does_not_exist(report: dict[str, str], call: str) -> None:
    assert report[call] == "refused:ENOSYS"


def test_locks_succeed_and_are_none_for_files_are_the_hosts(report: dict[str, str]) -> None:
    assert (report["flock"], report["lockf"], report["flock as well"]) == ("allowed:None",) * 3


def test_a_cell_cannot_keep_the_host_from_locking_files_by_reading_which_are(report: dict[str, str]) -> None:
    assert report["locks"] == "True"


def test_a_cell_cannot_keep_the_host_from_its_files_by_reading_how_its_file_systems_are_doing(
    report: dict[str, str],
) -> None:
    assert report["file systems"] == ""


def test_what_is_in_memory_is_not_told_and_nobody_who_asks_for_an_address_is_refused(report: dict[str, str]) -> None:
    assert report["mincore"] == "allowed:(0, b'?')"


def test_memory_that_is_named_has_no_name(report: dict[str, str]) -> None:
    assert report["named"] == "(0, False)"


def test_the_kernel_watches_no_pressure_for_a_cell(report: dict[str, str]) -> None:
    assert report["pressure"].startswith("refused:")


@pytest.mark.parametrize("call", ["sync", "syncfs", "fsync", "fdatasync", "sync_file_range"])
def test_flushing_succeeds_and_reaches_no_disk(report: dict[str, str], call: str) -> None:
    assert report[call] == "allowed:0"
    assert report[f"{call} of nothing"] == "allowed:0", "the kernel would have looked at the descriptor"


def test_clone3_does_not_exist_so_that_clones_flags_can_be_read(report: dict[str, str]) -> None:
    assert report["clone3"] == "refused:ENOSYS"


@pytest.mark.parametrize(
    "what", ["setuid", "setgid", "nofile", "nproc", "kill init", "limits of pid 1", "clone for the parent"]
)
def test_no_privilege_or_limit_can_be_raised(report: dict[str, str], what: str) -> None:
    assert report[what].startswith("refused:"), report[what]


def test_no_program_is_run_for_a_crash(report: dict[str, str]) -> None:
    """Which core_pattern may name: only a limit of exactly one byte keeps the kernel from it (core(5)). It could not
    be raised, but be lowered."""
    most = resource.getrlimit(resource.RLIMIT_CORE)[1]
    assert report["core limit"] == ("allowed:0" if most == 0 else "allowed:1")
    assert report["own limits"].startswith("allowed:")


def test_a_cell_goes_first_where_a_host_runs_out_of_memory(report: dict[str, str]) -> None:
    assert report["first to go"] == "allowed:'1000'"
    if _capabilities() & CAP_SYS_RESOURCE:  # of whoever said so; else it may be taken back
        assert report["go last"].startswith("refused:"), report["go last"]


def _capabilities() -> int:
    status = Path("/proc/self/status").read_text("ascii")
    return int(status.partition("CapEff:")[2].split()[0], 16)


def test_no_better_priority_can_be_had_whatever_the_daemon_may(report: dict[str, str]) -> None:
    assert report["priorities"] == "allowed:[(0, 0), (0, 0)]"


def test_kinds_of_cells_have_no_uid_in_common() -> None:
    most = dict.fromkeys(UidStep, 160) | {UidStep.BUILDER: 64}  # of the settings `slots` and `ahead`
    uids = [step + number for step, count in most.items() for number in range(count * UIDS_PER_SLOT)]
    assert len(set(uids)) == len(uids)
    assert max(uids) < UID_COUNT


def test_a_cell_has_no_capability_no_group_and_a_uid_of_its_own(report: dict[str, str]) -> None:
    assert all(int(report[f"status {name}"], 16) == 0 for name in ("CapEff", "CapPrm", "CapBnd", "CapInh", "CapAmb"))
    assert report["status NoNewPrivs"] == "1"
    assert report["status Seccomp"] == "2"
    assert report["status Groups"] == ""
    if os.geteuid() == 0:
        uids = report["status Uid"].split()
        assert len(uids) == 4 and len(set(uids)) == 1
        assert int(uids[0]) in uids_from(cell_uid())


def test_a_cell_sees_only_its_own_processes(report: dict[str, str]) -> None:
    assert set(report["processes"].split(",")) <= {"bwrap", "python", "python3", "pt_main_thread"}


def test_the_environment_is_built_from_nothing(report: dict[str, str]) -> None:
    ours = [
        "CUDA_HOME",
        "HOME",
        "LANG",
        "MALLOC_MMAP_MAX_",
        "MALLOC_TRIM_THRESHOLD_",
        "MAX_JOBS",
        "OMP_NUM_THREADS",
        "PATH",
        "PWD",
        "PYTORCH_NVCC",
        "TMPDIR",
    ]
    ours += ["TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR"]
    assert set(report["environment"].split(",")) <= {*ours, "TRITON_CACHE_DIR", "TRITON_INTERPRET", "USER"} | {
        name for name in report["environment"].split(",") if name.startswith(("KMP_", "LC_", "TORCHINDUCTOR_"))
    }


def test_a_cell_holds_its_streams_and_one_channel_and_nothing_else(report: dict[str, str]) -> None:
    held = [name for name in report["descriptors"].split("|") if not name.startswith("/proc/")]
    kinds = sorted(name.split(" ")[0] for name in held if not name.startswith(("/memfd:", "anon_inode")))
    assert kinds == ["/dev/null", "pipe", "pipe", "socket"], report["descriptors"]
    assert all("evald" in name for name in held if name.startswith("/memfd:"))


def test_a_cell_has_a_network_of_its_own_and_no_name_of_the_host(report: dict[str, str]) -> None:
    assert report["hostname"] == "cell"
    assert report["interfaces"] == "lo"


def test_what_one_cell_leaves_behind_the_next_does_not_see(
    report: dict[str, str], engine_home: Path, judge: JudgeOne
) -> None:
    assert "left-behind" not in judge(compare(source(engine_home))).passed().report["leftovers"]


def test_killing_everything_in_reach_ends_only_the_cell(judge: JudgeOne) -> None:
    body = "import os\ntry:\n    os.kill(-1, 9)\nexcept ProcessLookupError:\n    pass  # nobody is there\nreturn a + b"
    judge(compare(forward(body))).passed()
    judge(compare(forward("import os\nos.kill(0, 9)\nreturn a + b"))).ended(Verdict.RUNTIME_ERROR, "SIGKILL")


def test_a_daemonised_grandchild_does_not_outlive_its_cell(judge: JudgeOne) -> None:
    name = f"evald{os.getpid()}x"
    body = f"""
        import os, time
        if not hasattr(self, "left"):
            self.left = True
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    open("/proc/self/comm", "w").write({name!r})
                    for fd in range(100):
                        try: os.close(fd)
                        except OSError: pass
                    time.sleep(1000)
                os._exit(0)
        return a + b
        """
    judge(compare(forward(body))).passed()
    assert name not in subprocess.run(["ps", "-eo", "comm"], capture_output=True, text=True, check=True).stdout


def test_the_arena_cannot_be_truncated_under_the_judge(judge: JudgeOne) -> None:
    body = """
        import os
        for fd in os.listdir("/proc/self/fd"):
            try:
                if "memfd" in os.readlink("/proc/self/fd/" + fd):
                    os.ftruncate(int(fd), 0)
                    print("truncated=" + fd)
            except OSError as error:
                print("refused=" + str(error.errno))
        for line in open("/proc/self/maps"):
            if "memfd:evald" in line:
                first, last = (int(x, 16) for x in line.split()[0].split("-"))
                try:
                    fd = os.open(f"/proc/self/map_files/{first:x}-{last:x}", os.O_RDWR)
                    os.ftruncate(fd, 0)
                    print("truncated=map")
                except OSError as error:
                    print("refused map=" + str(error.errno))
        return a + b
        """
    assert "truncated" not in judge(compare(forward(body))).passed().report


def test_the_reference_cannot_be_found_by_its_candidate(judge: JudgeOne) -> None:
    body = """
        import os, sys
        found = []
        for folder, _, files in os.walk("/tmp"):
            for name in files if not folder.startswith(sys.prefix) else []:
                try:
                    text = open(os.path.join(folder, name), errors="replace").read()
                except OSError:
                    continue
                if "the reference's own " + "words" in text:
                    found.append(name)
        print("found=" + ",".join(found))
        return a + b
        """
    reference = (
        "class Model(nn.Module):\n    '''the reference\\'s own words'''\n"
        "    def forward(self, a, b):\n        return a + b\n"
        "def get_inputs():\n    return [torch.randn(4), torch.randn(4)]\n"
    )
    assert judge(compare(forward(body), reference)).passed().report["found"] == ""


def test_nothing_on_the_host_changed_and_no_group_of_ours_is_left(judge: JudgeOne) -> None:
    """But the spares, which have seen nothing."""
    body = """
        import subprocess
        if not hasattr(self, "child"):
            self.child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
        return a + b
        """
    judge(compare(forward(body))).passed()
    deadline = time.monotonic() + 120
    while len(found := owned_by(uids_from(cell_uid()))) > SPARES and time.monotonic() < deadline:
        os.sched_yield()
    assert len(found) <= SPARES
    assert "sleep" not in found


def owned_by(uids: range) -> list[str]:
    """The programs that run under these uids."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and folder.stat().st_uid in uids:
                found.append((folder / "comm").read_text().strip())
        except OSError:
            continue
    return found
