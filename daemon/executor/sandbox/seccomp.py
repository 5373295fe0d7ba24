"""The system call filter of a cell, as a classic BPF program.

Refused (EPERM): new namespaces, mounts, tracing and reading other processes, kernel keyrings, bpf, io_uring,
userfaultfd, perf, modules, clocks, every socket family but AF_UNIX (a cell has no network, but vsock and alg sockets
ignore namespaces) and its out-of-band bytes, which nobody needs and whose code in the kernel had holes
(CVE-2025-38236); limits of other processes and children for one's parent, with which pid 1 of a cell could be made to
use up its time; and what makes the kernel send a signal of one's choice later: a timer that sends SIGCONT would wake a
process that SIGSTOP has frozen. So is what the kernel goes on with while its process stands frozen (asynchronous I/O;
timers by descriptor, of which 200,000 that expire at once stop a processor for a second; merging equal pages of
memory), and what is counted across all namespaces, for the host or for the user that runs the daemon: contexts of
asynchronous I/O, inotify instances, message queues.
Flushing succeeds and does nothing: a cell writes to tmpfs only, but can open files of the host's disks and flush those.
So does locking: a lock is the file's, whoever may only read it, and a cell sees the same files as the host and as other
cells, which it could keep waiting, or tell something by what it has locked. Asking for locks, leases and notes of
changes is refused. Of memory that the kernel itself cannot see there is none.
A filter of the cell's own is refused: a call that waits for somebody's answer to it can neither be frozen nor
stopped. Asking what of a file is in memory is refused or tells nothing, and having it leave that does nothing: pages of
files that all cells see would carry messages.
What the kernel frees later than asked to, in a worker that stands in no group, is refused: the rules of Landlock, when
the last file is closed that somebody under them has opened (some thousand of which made another side's calls ten times
as long), and System V's messages, when a cell has ended, beside the next bundle (ten million take three seconds).
Filters of sockets are refused: the kernel translates them, and of memory for what it translates the whole host has one
limit, beyond which nobody without privileges gets a filter of system calls, no cell either.
Setting the limit of core files succeeds and does nothing: at any other than `confine` has set, whoever may only lower
it has the kernel run what core_pattern names, as root, for a crash.
`clone3` answers ENOSYS, so the C library falls back to `clone`, whose flags a filter can read.

Layout of `struct seccomp_data`, which the program loads from: nr at 0, arch at 4, args at 16 (linux/seccomp.h).
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NR, _ARCH, _ARG0 = 0, 4, 16
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000
_X32_BIT = 0x40000000
_AF_UNIX = 1
_F_SETSIG = 10
_F_LOCKING = {"F_SETLK": 6, "F_SETLKW": 7, "F_OFD_SETLK": 37, "F_OFD_SETLKW": 38}
_F_TELLING = {"F_GETLK": 5, "F_OFD_GETLK": 36, "F_SETLEASE": 1024, "F_GETLEASE": 1025, "F_NOTIFY": 1026}
_MSG_OOB = 1
_SO_FILTERING = {
    "SO_ATTACH_FILTER": 26,
    "SO_ATTACH_BPF": 50,
    "SO_ATTACH_REUSEPORT_CBPF": 51,
    "SO_ATTACH_REUSEPORT_EBPF": 52,
}
_MADV_MERGEABLE, _PR_SET_MEMORY_MERGE = 12, 67
_MADV_COLLAPSE, _MAP_HUGETLB, _MFD_HUGETLB, _SHM_HUGETLB = 25, 0x40000, 0x4, 0o4000
_PR_SCHED_CORE = 62  # with which a process has the other half of its core to itself, idle
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEWNS|NEWCGROUP|NEWUTS|NEWIPC|NEWUSER|NEWPID|NEWNET|NEWTIME (sched.h)
_CLONE_PARENT = 0x8000
_OTHER_EXIT_SIGNALS = 0xFF & ~17  # bits that neither SIGCHLD nor none has: SIGCONT would wake a parent that was stopped
_RLIMIT_CORE = 4
_FADV_DONTNEED, _MADV_PAGEOUT = 4, 21  # the second one for whoever the file belongs to
_CLONE_NEWTIME = 0x80  # shares its bit with the exit signal of clone: only unshare can ask for it
_PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _MODE_FILTER = 22, 38, 2

_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

# System call numbers: (x86_64, aarch64); None where the architecture never had the call.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "timer_create": (222, 107),
    "timerfd_create": (283, 85),
    "process_madvise": (440, 440),
    "seccomp": (317, 277),
    "cachestat": (451, 451),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "sched_setattr": (314, 274),  # a clock of its own choosing, where the kernel sets it by what a thread asks for
    "unshare": (272, 97),
    "setns": (308, 268),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "memfd_secret": (447, 447),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
    "io_destroy": (207, 1),
    "io_submit": (209, 2),
    "io_cancel": (210, 3),
    "io_getevents": (208, 4),
    "io_pgetevents": (333, 292),
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "mq_open": (240, 180),
    "mq_notify": (244, 184),
    "msgget": (68, 186),
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262),
    "lookup_dcookie": (212, 18),
    "vhangup": (153, 58),
    "personality": (135, 92),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "mbind": (237, 235),
    "set_mempolicy_home_node": (450, 450),
}
# Calls that do nothing, and succeed.
_IDLE: dict[str, tuple[int, int]] = {
    "sync": (162, 81),
    "syncfs": (306, 267),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "sync_file_range": (277, 84),
    "flock": (73, 32),
    "mincore": (27, 232),  # which some libraries ask whether an address is one
}
# Calls that do not exist in a cell, and from which number on: those up to Linux 6.18 have been looked at.
_ABSENT = {"clone3": 435, "openat2": 437}
_UNKNOWN = 470


@dataclass(frozen=True)
class _ByArgument:
    """A call that is refused by what one of its arguments is: unless `test` with `value` holds, or where it does.
    `is_idle`: it does nothing then, and succeeds."""

    numbers: tuple[int, int]
    argument: int
    test: int
    value: int
    must_hold: bool = False
    is_idle: bool = False


_PRLIMIT64 = (302, 261)
_BY_ARGUMENT = {
    "clone": _ByArgument(
        (56, 220), 0, _JUMP_SET, _NEW_NAMESPACES & ~_CLONE_NEWTIME | _CLONE_PARENT | _OTHER_EXIT_SIGNALS
    ),
    "preadv2": _ByArgument((327, 286), 5, _JUMP_EQ, 0, must_hold=True),
    "fadvise": _ByArgument((221, 223), 3, _JUMP_EQ, _FADV_DONTNEED, is_idle=True),
    "prlimit64": _ByArgument(_PRLIMIT64, 0, _JUMP_EQ, 0, must_hold=True),
    "setrlimit": _ByArgument((160, 164), 0, _JUMP_EQ, _RLIMIT_CORE, is_idle=True),
    "socket": _ByArgument((41, 198), 0, _JUMP_EQ, _AF_UNIX, must_hold=True),
    "socketpair": _ByArgument((53, 199), 0, _JUMP_EQ, _AF_UNIX, must_hold=True),
    "fcntl F_SETSIG": _ByArgument((72, 25), 1, _JUMP_EQ, _F_SETSIG),
    **{f"fcntl {name}": _ByArgument((72, 25), 1, _JUMP_EQ, command) for name, command in _F_TELLING.items()},
    **{
        f"fcntl {name}": _ByArgument((72, 25), 1, _JUMP_EQ, command, is_idle=True)
        for name, command in _F_LOCKING.items()
    },
    **{f"setsockopt {name}": _ByArgument((54, 208), 2, _JUMP_EQ, option) for name, option in _SO_FILTERING.items()},
    "madvise": _ByArgument((28, 233), 2, _JUMP_EQ, _MADV_MERGEABLE),
    "madvise paging out": _ByArgument((28, 233), 2, _JUMP_EQ, _MADV_PAGEOUT, is_idle=True),
    "madvise collapsing": _ByArgument((28, 233), 2, _JUMP_EQ, _MADV_COLLAPSE),
    "mmap": _ByArgument((9, 222), 3, _JUMP_SET, _MAP_HUGETLB),
    "memfd_create": _ByArgument((319, 279), 1, _JUMP_SET, _MFD_HUGETLB),
    "shmget": _ByArgument((29, 194), 2, _JUMP_SET, _SHM_HUGETLB),
    "prctl merging": _ByArgument((157, 167), 0, _JUMP_EQ, _PR_SET_MEMORY_MERGE),
    "prctl filter": _ByArgument((157, 167), 0, _JUMP_EQ, _PR_SET_SECCOMP),
    "prctl cores": _ByArgument((157, 167), 0, _JUMP_EQ, _PR_SCHED_CORE),
    "sendto": _ByArgument((44, 206), 3, _JUMP_SET, _MSG_OOB),
    "sendmsg": _ByArgument((46, 211), 2, _JUMP_SET, _MSG_OOB),
    "sendmmsg": _ByArgument((307, 269), 3, _JUMP_SET, _MSG_OOB),
}


def _instruction(code: int, jump_true: int, jump_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, jump_true, jump_false, value)


def program(machine: str | None = None) -> bytes:
    """The filter for `machine` (default: this one), as an array of `struct sock_filter`.

    Raises `KeyError` for an architecture without a table.
    """
    machine = machine or platform.machine()
    column = list(_ARCHITECTURES).index(machine) if machine in _ARCHITECTURES else -1
    architecture = _ARCHITECTURES[machine]
    refuse, idle = _instruction(_RETURN, 0, 0, _ERRNO | errno.EPERM), _instruction(_RETURN, 0, 0, _ERRNO)
    parts = [
        _instruction(_LOAD, 0, 0, _ARCH),
        _instruction(_JUMP_EQ, 1, 0, architecture),
        _instruction(_RETURN, 0, 0, _KILL),
        _instruction(_LOAD, 0, 0, _NR),
    ]
    if machine == "x86_64":
        parts += [_instruction(_JUMP_GE, 0, 1, _X32_BIT), _instruction(_RETURN, 0, 0, _KILL)]
    for numbers in _REFUSED.values():
        if (number := numbers[column]) is not None:
            parts += [_instruction(_JUMP_EQ, 0, 1, number), refuse]
    for call in _IDLE.values():
        parts += [_instruction(_JUMP_EQ, 0, 1, call[column]), idle]
    absent = _instruction(_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    for number in _ABSENT.values():
        parts += [_instruction(_JUMP_EQ, 0, 1, number), absent]
    parts += [_instruction(_JUMP_GE, 0, 1, _UNKNOWN), absent]
    for rule in _BY_ARGUMENT.values():
        parts += _by_argument(rule, column, idle if rule.is_idle else refuse)
    parts += _core_limit_stays(column, idle)
    parts.append(_instruction(_RETURN, 0, 0, _ALLOW))
    return b"".join(parts)


def _by_argument(rule: _ByArgument, column: int, answer: bytes) -> list[bytes]:
    return [
        _instruction(_JUMP_EQ, 0, 4, rule.numbers[column]),
        _instruction(_LOAD, 0, 0, _ARG0 + 8 * rule.argument),
        _instruction(rule.test, 1, 0, rule.value) if rule.must_hold else _instruction(rule.test, 0, 1, rule.value),
        answer,
        _instruction(_LOAD, 0, 0, _NR),
    ]


def _core_limit_stays(column: int, answer: bytes) -> list[bytes]:
    """`prlimit64`, which the C library also reads limits with: its third argument, of two words, is no address then."""
    return [
        _instruction(_JUMP_EQ, 0, 8, _PRLIMIT64[column]),
        _instruction(_LOAD, 0, 0, _ARG0 + 8),
        _instruction(_JUMP_EQ, 0, 5, _RLIMIT_CORE),
        _instruction(_LOAD, 0, 0, _ARG0 + 16),
        _instruction(_JUMP_EQ, 0, 2, 0),
        _instruction(_LOAD, 0, 0, _ARG0 + 20),
        _instruction(_JUMP_EQ, 1, 0, 0),
        answer,
        _instruction(_LOAD, 0, 0, _NR),
    ]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def install() -> None:
    """Filter this thread and all it starts, for good. Raises `OSError` when the kernel refuses."""
    code = program()
    buffer = ctypes.create_string_buffer(code, len(code))
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        _PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(header), 0, 0
    ):
        number = ctypes.get_errno()
        raise OSError(number, f"seccomp: {os.strerror(number)}")
