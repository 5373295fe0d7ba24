"""Which system calls a cell may not make, and why.

Theory of operation: a cell has no network and no privileges. A call that is left to it must do none of these things,
and the tables below say of each refused call which of them it would do:

- reach beyond the cell's walls;
- go on while the cell stands frozen;
- use up what other cells or the host need;
- carry messages to another cell.

A refused call answers EPERM. A call that programs make as a matter of course, and a cell must not, succeeds and does
nothing. A filter reads numbers and the words of arguments, not what an address leads to. Of several rules the first
whose conditions are met decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

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
_SO_PASSPIDFD, _SO_PEERPIDFD = 76, 77
_MADV_MERGEABLE, _PR_SET_MEMORY_MERGE = 12, 67
_MADV_COLLAPSE, _MAP_HUGETLB, _MFD_HUGETLB, _SHM_HUGETLB = 25, 0x40000, 0x4, 0o4000
PR_SET_SECCOMP, _PR_SCHED_CORE = 22, 62
_NEW_NAMESPACES = 0x7E020000  # CLONE_NEWNS|NEWCGROUP|NEWUTS|NEWIPC|NEWUSER|NEWPID|NEWNET (sched.h)
_CLONE_PARENT, _CLONE_PIDFD = 0x8000, 0x1000
_OTHER_EXIT_SIGNALS = 0xFF & ~17  # bits that neither SIGCHLD nor none has
_RLIMIT_CORE = 4
_ITIMER_REAL = 0
_FADV_DONTNEED, _MADV_PAGEOUT = 4, 21
_FADV_WILLNEED, _MADV_WILLNEED = 3, 3
_PR_SET_VMA = 0x53564D41
_F_SETFL, _O_DIRECT = 4, (0x4000, 0x10000)
_FS_IOC_GETFSMAP = 0xC0C0583B
_FS_FLUSHING = {"BTRFS_IOC_SYNC": 0x9408, "BTRFS_IOC_START_SYNC": 0x80089418}
_FS_IOC_ADD_ENCRYPTION_KEY = 0xC0506617
_FIRST_OF_INTERFACES, _LAST_OF_WIRELESS = 0x8910, 0x8BFF  # sockios.h, wireless.h

MACHINES = ("x86_64", "aarch64")  # the numbers below are in this order; None: that machine never had the call
REFUSED: dict[str, tuple[int | None, int | None]] = {
    # other namespaces, mounts and roots
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
    # access to other processes and their memory, and to files beyond the cell's walls
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    # a filter of the cell's own: a call that waits for a supervisor's answer can be neither frozen nor stopped
    "seccomp": (317, 277),
    # a signal of the cell's choice, later: SIGCONT would wake a process that SIGSTOP has frozen
    "timer_create": (222, 107),
    "alarm": (37, None),
    # a descriptor that tells of a signal or of a process's end. A process that ends has left its group, which may stand
    # frozen. With many epolls the news keeps the kernel busy, and the list of all processes of the host is locked
    "signalfd": (282, None),
    "signalfd4": (289, 74),
    "pidfd_open": (434, 434),
    # goes on while its process stands frozen: 200,000 timers that end at once stop a processor for a second
    "timerfd_create": (283, 85),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_setup": (206, 0),
    "io_destroy": (207, 1),
    "io_submit": (209, 2),
    "io_cancel": (210, 3),
    "io_getevents": (208, 4),
    "io_pgetevents": (333, 292),
    # counted across all namespaces, for the host or for the user that runs the daemon (as contexts of io_setup are)
    "inotify_init": (253, None),
    "inotify_init1": (294, 26),
    "fanotify_init": (300, 262),
    "mq_open": (240, 180),
    "mq_notify": (244, 184),
    # freed later, by a worker of the kernel's that is in no group: rules of Landlock, when the last file is closed that
    # was opened under them. Some thousand rules made another side's calls ten times as long
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
    # the same: messages and semaphores of System V, when the cell has ended, beside the next bundle. Ten million
    # messages take three seconds, 32,000 arrays of semaphores one and a half
    "msgget": (68, 186),
    "semget": (64, 190),
    # tells which pages of a file are in memory: in files that all cells see, these would carry messages
    "cachestat": (451, 451),
    # a clock frequency of its own choosing, where the kernel sets it by what a thread asks for
    "sched_setattr": (314, 274),
    # memory that the kernel itself cannot see; page faults that another thread answers; where memory lies
    "memfd_secret": (447, 447),
    "userfaultfd": (323, 282),
    "migrate_pages": (256, 238),
    "move_pages": (279, 239),
    "mbind": (237, 235),
    "set_mempolicy_home_node": (450, 450),
    # programs in the kernel, counters, keyrings
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    # the host itself
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
    "lookup_dcookie": (212, 18),
    "vhangup": (153, 58),
    "personality": (135, 92),
}
# Calls that do nothing, and succeed.
IDLE: dict[str, tuple[int, int]] = {
    # a cell writes to tmpfs only, but it can open files of the host's disks, and flush these
    "sync": (162, 81),
    "syncfs": (306, 267),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "sync_file_range": (277, 84),
    # who may only read a file can lock it: cells could keep the host waiting, or tell each other something
    "flock": (73, 32),
    # tells which pages of a file are in memory; but some libraries ask by it whether an address is valid
    "mincore": (27, 232),
    # reads a file ahead: the kernel goes on while the cell stands frozen (850 MB, which took 0.7 s)
    "readahead": (187, 213),
}
# Idle as well in a cell beside which others are timed: it could move to the processors that they are timed on.
IDLE_IN_THE_BACKGROUND = {"sched_setaffinity": (203, 122)}
# Calls that do not exist in a cell. The arguments of these two lie behind an address; the C library takes clone and
# openat in their place. Calls from number UNKNOWN on are newer than Linux 6.18, and nobody has looked at them.
ABSENT = {"clone3": 435, "openat2": 437}
UNKNOWN = 470


class Test(Enum):
    EQUALS = auto()
    HAS_BITS = auto()  # any of them
    IS_AT_LEAST = auto()


@dataclass(frozen=True)
class Condition:
    """A test of one 32-bit word of an argument: `test` with `value` (one, or one for each machine). The word must pass
    it, or must not (`must_hold` False)."""

    argument: int
    test: Test
    value: int | tuple[int, int]
    must_hold: bool = True
    is_upper: bool = False  # the second word of two


def _is(argument: int, value: int) -> Condition:
    return Condition(argument, Test.EQUALS, value)


def _is_not(argument: int, value: int, *, is_upper: bool = False) -> Condition:
    return Condition(argument, Test.EQUALS, value, must_hold=False, is_upper=is_upper)


def _is_beyond(argument: int, value: int) -> Condition:
    return Condition(argument, Test.IS_AT_LEAST, value + 1)


def _is_at_most(argument: int, value: int) -> Condition:
    return Condition(argument, Test.IS_AT_LEAST, value + 1, must_hold=False)


def _has(argument: int, bits: int | tuple[int, int]) -> Condition:
    return Condition(argument, Test.HAS_BITS, bits)


@dataclass(frozen=True)
class Rule:
    """A call that is refused where all conditions are met. `is_idle`: it does nothing then, and succeeds."""

    numbers: tuple[int, int | None]
    conditions: tuple[Condition, ...]
    is_idle: bool = False


def _refused(numbers: tuple[int, int | None], *conditions: Condition) -> Rule:
    return Rule(numbers, conditions)


def _idle(numbers: tuple[int, int | None], *conditions: Condition) -> Rule:
    return Rule(numbers, conditions, is_idle=True)


_SOCKET, _SOCKETPAIR, _SETSOCKOPT, _GETSOCKOPT = (41, 198), (53, 199), (54, 208), (55, 209)
_SENDTO, _SENDMSG, _SENDMMSG = (44, 206), (46, 211), (307, 269)
_CLONE, _PRCTL, _PRLIMIT64, _SETRLIMIT = (56, 220), (157, 167), (302, 261), (160, 164)
_FCNTL, _FADVISE, _PREADV2 = (72, 25), (221, 223), (327, 286)
_OPEN, _OPENAT = (2, None), (257, 56)
_MADVISE, _MMAP, _MEMFD_CREATE, _SHMGET = (28, 233), (9, 222), (319, 279), (29, 194)
_SETITIMER, _IOCTL = (38, 103), (16, 29)
_LARGEST_SEGMENT = 1 << 16  # bytes: there may be 4096 segments, and as many of this size are freed soon
RULES = (
    # NEW_NAMESPACES; CLONE_PARENT: a child of the parent's, with many of which pid 1 of the cell would use up its time;
    # OTHER_EXIT_SIGNALS: its end sends another signal than SIGCHLD, and SIGCONT would wake a parent that was stopped;
    # CLONE_PIDFD: a descriptor, as of pidfd_open
    _refused(_CLONE, _has(0, _NEW_NAMESPACES | _CLONE_PARENT | _CLONE_PIDFD | _OTHER_EXIT_SIGNALS)),
    # the same descriptor of who is at the other end of a socket; another signal than SIGIO for a file
    _refused(_GETSOCKOPT, _is(2, _SO_PEERPIDFD)),
    _refused(_SETSOCKOPT, _is(2, _SO_PASSPIDFD)),
    _refused(_FCNTL, _is(1, _F_SETSIG)),
    # every family but AF_UNIX: vsock and alg sockets ignore namespaces
    _refused(_SOCKET, _is_not(0, _AF_UNIX)),
    _refused(_SOCKETPAIR, _is_not(0, _AF_UNIX)),
    # out-of-band bytes of AF_UNIX, which nobody needs and whose code in the kernel had holes (CVE-2025-38236)
    _refused(_SENDTO, _has(3, _MSG_OOB)),
    _refused(_SENDMSG, _has(2, _MSG_OOB)),
    _refused(_SENDMMSG, _has(3, _MSG_OOB)),
    # filters of sockets: the whole host has one limit on the memory of compiled filters. Beyond it nobody without
    # privileges gets a filter of system calls, and so no cell starts
    *(_refused(_SETSOCKOPT, _is(2, option)) for option in _SO_FILTERING.values()),
    # locks, as flock; asking for locks, leases, notes of changes
    *(_idle(_FCNTL, _is(1, command)) for command in _F_LOCKING.values()),
    *(_refused(_FCNTL, _is(1, command)) for command in _F_TELLING.values()),
    # a read with a flag tells which pages of a file are in memory
    _refused(_PREADV2, _is_not(5, 0)),
    # have pages of a file leave memory (PAGEOUT works for the owner of the file)
    _idle(_FADVISE, _is(3, _FADV_DONTNEED)),
    _idle(_MADVISE, _is(2, _MADV_PAGEOUT)),
    # have pages of a file read, as readahead
    _idle(_FADVISE, _is(3, _FADV_WILLNEED)),
    _idle(_MADVISE, _is(2, _MADV_WILLNEED)),
    # reads past the page cache: a process does not even die before all that it has asked for has come, and a few
    # threads that ask for the same gigabytes keep a disk busy for minutes
    _refused(_OPEN, _has(1, _O_DIRECT)),
    _refused(_OPENAT, _has(2, _O_DIRECT)),
    _refused(_FCNTL, _is(1, _F_SETFL), _has(2, _O_DIRECT)),
    # a map of a whole file system, for whoever has any file of it open (ioctl_getfsmap(2)). The kernel goes through
    # every group of its blocks and locks each. With eight processes of the least priority at it, an fsync of anybody
    # else on that disk took 200 times as long: 3.4 s
    _refused(_IOCTL, _is(1, _FS_IOC_GETFSMAP)),
    # as sync: btrfs writes all that is to be written, in threads of its own if nobody waits
    *(_refused(_IOCTL, _is(1, command)) for command in _FS_FLUSHING.values()),
    # as add_key
    _refused(_IOCTL, _is(1, _FS_IOC_ADD_ENCRYPTION_KEY)),
    # questions about networks, which any socket takes. For VLANs and bridges the kernel loads modules, by modprobe, as
    # root, outside of all limits, before it checks whether the caller may ask
    _refused(_IOCTL, _is_beyond(1, _FIRST_OF_INTERFACES - 1), _is_at_most(1, _LAST_OF_WIRELESS)),
    # as alarm: it goes off while its process stands frozen. If a few hundred epolls wait for it, by a few hundred
    # descriptors each, the kernel stops a processor for 50 ms to tell them all. And if the signal may still kill, the
    # process gives back gigabytes then
    _refused(_SETITIMER, _is(0, _ITIMER_REAL)),
    # limits of other processes
    _refused(_PRLIMIT64, _is_not(0, 0)),
    # the limit on core files: at any other value than the one that `confine` has set, the kernel runs, as root, for a
    # crash what core_pattern names. prlimit64 sets nothing where its address, of two words, is zero: so the C library
    # reads limits
    _idle(_SETRLIMIT, _is(0, _RLIMIT_CORE)),
    _idle(_PRLIMIT64, _is(1, _RLIMIT_CORE), _is_not(2, 0)),
    _idle(_PRLIMIT64, _is(1, _RLIMIT_CORE), _is_not(2, 0, is_upper=True)),
    # merging equal pages: the kernel goes on with it while the process stands frozen
    _refused(_MADVISE, _is(2, _MADV_MERGEABLE)),
    _refused(_PRCTL, _is(0, _PR_SET_MEMORY_MERGE)),
    # huge pages, of which the host has one supply
    _refused(_MADVISE, _is(2, _MADV_COLLAPSE)),
    _refused(_MMAP, _has(3, _MAP_HUGETLB)),
    _refused(_MEMFD_CREATE, _has(1, _MFD_HUGETLB)),
    _refused(_SHMGET, _has(2, _SHM_HUGETLB)),
    # large segments of System V: freed as its messages are, a second for each gigabyte. With a size of 0 the library of
    # the GPU's driver looks for a segment that a profiler has made
    _refused(_SHMGET, _is_not(1, 0, is_upper=True)),
    _refused(_SHMGET, _is_beyond(1, _LARGEST_SEGMENT)),
    # a filter of the cell's own, as seccomp
    _refused(_PRCTL, _is(0, PR_SET_SECCOMP)),
    # keeps the other half of a core idle
    _refused(_PRCTL, _is(0, _PR_SCHED_CORE)),
    # names of memory, which the kernel keeps and counts for nobody
    _idle(_PRCTL, _is(0, _PR_SET_VMA)),
)
