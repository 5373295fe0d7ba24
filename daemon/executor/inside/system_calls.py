"""Which system calls a cell may not make, and why.

Theory of operation: a cell has no network and no privileges. What is left to it of the kernel must neither reach beyond
its walls, nor go on while it stands frozen, nor use up what other cells or the host need, nor carry messages to another
cell: the tables below say of each call which of these it would do. What is refused answers EPERM; what programs do as
a matter of course, and a cell must not, succeeds and does nothing. A filter reads numbers and the words of arguments,
not what an address leads to; of several rules the first whose conditions are met decides.
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

MACHINES = ("x86_64", "aarch64")  # in the order of the numbers below; None where one never had the call
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
    # other processes: traced, read, compared, told what to do with their memory, and files from behind their walls
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    # a filter of the cell's own: a call that waits for somebody's answer to it can neither be frozen nor stopped
    "seccomp": (317, 277),
    # signals of one's choice, later: SIGCONT would wake a process that SIGSTOP has frozen
    "timer_create": (222, 107),
    "alarm": (37, None),
    # being told by a descriptor of a process's end: it is out of its group by then, and the group may stand frozen. As
    # with alarms many epolls keep the kernel busy, here with the list of all processes of the host locked
    "signalfd": (282, None),
    "signalfd4": (289, 74),
    "pidfd_open": (434, 434),
    # what goes on while its process stands frozen: 200,000 timers by descriptor at once stop a processor for a second
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
    # freed later than asked to, by a worker that stands in no group: the rules of Landlock when the last file is closed
    # that was opened under them (some thousand made another side's calls ten times as long), the messages of System V
    # and its semaphores when the cell has ended, beside the next bundle (ten million messages take three seconds,
    # 32,000 arrays of semaphores one and a half)
    "landlock_create_ruleset": (444, 444),
    "landlock_add_rule": (445, 445),
    "landlock_restrict_self": (446, 446),
    "msgget": (68, 186),
    "semget": (64, 190),
    # tells what of a file is in memory: pages of files that all cells see would carry messages
    "cachestat": (451, 451),
    # a clock of its own choosing, where the kernel sets it by what a thread asks for
    "sched_setattr": (314, 274),
    # memory that the kernel itself cannot see, faults that somebody answers, places of memory
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
    # a cell writes to tmpfs only, but can open files of the host's disks and flush those
    "sync": (162, 81),
    "syncfs": (306, 267),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "sync_file_range": (277, 84),
    # a lock is the file's, whoever may only read it: cells could keep the host waiting, or tell each other something
    "flock": (73, 32),
    # some libraries ask whether an address is one: what of a file is in memory is told nobody
    "mincore": (27, 232),
    # having pages of a file come: the kernel reads on while the cell stands frozen (850 MB, which took 0.7 s)
    "readahead": (187, 213),
}
# And where others are being timed beside it: to go to the processors they are timed on.
IDLE_IN_THE_BACKGROUND = {"sched_setaffinity": (203, 122)}
# Calls that do not exist in a cell: two whose arguments lie behind an address, so that the C library takes clone and
# openat; and from which number on: those up to Linux 6.18 have been looked at.
ABSENT = {"clone3": 435, "openat2": 437}
UNKNOWN = 470


class Test(Enum):
    EQUALS = auto()
    HAS_BITS = auto()  # any of them
    IS_AT_LEAST = auto()


@dataclass(frozen=True)
class Condition:
    """What a word of an argument, of 32 bits, has to pass: `test` with `value` (one, or one for each machine), or not
    to pass it."""

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
_LARGEST_SEGMENT = 1 << 16  # bytes: 4096 of them, which is what there may be, are soon given back
RULES = (
    # new namespaces; a child for one's parent, with which pid 1 of a cell could be made to use up its time; a child
    # whose end sends another signal than SIGCHLD: SIGCONT would wake a parent that was stopped; descriptors of a child
    # or of who is at the other end of a socket, as of pidfd_open
    _refused(_CLONE, _has(0, _NEW_NAMESPACES | _CLONE_PARENT | _CLONE_PIDFD | _OTHER_EXIT_SIGNALS)),
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
    # filters of sockets: of memory for what the kernel translates the whole host has one limit, beyond which nobody
    # without privileges gets a filter of system calls, no cell either
    *(_refused(_SETSOCKOPT, _is(2, option)) for option in _SO_FILTERING.values()),
    # locks as of flock; asking for locks, leases, notes of changes
    *(_idle(_FCNTL, _is(1, command)) for command in _F_LOCKING.values()),
    *(_refused(_FCNTL, _is(1, command)) for command in _F_TELLING.values()),
    # what of a file is in memory: asked for with a flag of reads, or made to leave (pageout by whoever the file's is)
    _refused(_PREADV2, _is_not(5, 0)),
    _idle(_FADVISE, _is(3, _FADV_DONTNEED)),
    _idle(_MADVISE, _is(2, _MADV_PAGEOUT)),
    # having pages of a file come, as of readahead
    _idle(_FADVISE, _is(3, _FADV_WILLNEED)),
    _idle(_MADVISE, _is(2, _MADV_WILLNEED)),
    # files read past the page cache: a process is not even killed before all that it has asked for has come, and a few
    # threads that ask for the same gigabytes keep a disk at it for minutes
    _refused(_OPEN, _has(1, _O_DIRECT)),
    _refused(_OPENAT, _has(2, _O_DIRECT)),
    _refused(_FCNTL, _is(1, _F_SETFL), _has(2, _O_DIRECT)),
    # a map of a whole file system, which whoever has any file of it open may ask for (ioctl_getfsmap(2)): the kernel
    # goes through every group of its blocks, each locked meanwhile. Eight processes of the least priority had everybody
    # else on that disk wait 200 times as long for an fsync: 3.4 s
    _refused(_IOCTL, _is(1, _FS_IOC_GETFSMAP)),
    # as sync: btrfs writes all there is to be written, by threads of its own where nobody waits; as add_key
    *(_refused(_IOCTL, _is(1, command)) for command in _FS_FLUSHING.values()),
    _refused(_IOCTL, _is(1, _FS_IOC_ADD_ENCRYPTION_KEY)),
    # what is asked of networks, and any socket takes: of VLANs and bridges the kernel loads the modules for that, by
    # modprobe, as root, outside of all limits, before it asks whether the caller may have such a thing
    _refused(_IOCTL, _is_beyond(1, _FIRST_OF_INTERFACES - 1), _is_at_most(1, _LAST_OF_WIRELESS)),
    # as alarm: it goes off while its process stands frozen. Whoever waits for the signal by epoll, a few hundred times
    # a few hundred descriptors, has the kernel stop a processor for 50 ms to tell them all; and where the signal may
    # still kill, a process gives back gigabytes then
    _refused(_SETITIMER, _is(0, _ITIMER_REAL)),
    # limits of other processes
    _refused(_PRLIMIT64, _is_not(0, 0)),
    # setting the limit of core files: at any other than `confine` has set, whoever may only lower it has the kernel run
    # what core_pattern names, as root, for a crash. prlimit64 sets nothing where its address, of two words, is zero:
    # the C library reads limits with it
    _idle(_SETRLIMIT, _is(0, _RLIMIT_CORE)),
    _idle(_PRLIMIT64, _is(1, _RLIMIT_CORE), _is_not(2, 0)),
    _idle(_PRLIMIT64, _is(1, _RLIMIT_CORE), _is_not(2, 0, is_upper=True)),
    # merging equal pages, which the kernel goes on with while the process stands frozen
    _refused(_MADVISE, _is(2, _MADV_MERGEABLE)),
    _refused(_PRCTL, _is(0, _PR_SET_MEMORY_MERGE)),
    # huge pages, of which the host has one supply
    _refused(_MADVISE, _is(2, _MADV_COLLAPSE)),
    _refused(_MMAP, _has(3, _MAP_HUGETLB)),
    _refused(_MEMFD_CREATE, _has(1, _MFD_HUGETLB)),
    _refused(_SHMGET, _has(2, _SHM_HUGETLB)),
    # large segments of System V, which are freed as its messages are: a second for each gigabyte. The driver's library
    # only looks for one that a profiler has made, by a size of 0
    _refused(_SHMGET, _is_not(1, 0, is_upper=True)),
    _refused(_SHMGET, _is_beyond(1, _LARGEST_SEGMENT)),
    # a filter of the cell's own, as of seccomp; the other half of its core to itself, idle
    _refused(_PRCTL, _is(0, PR_SET_SECCOMP)),
    _refused(_PRCTL, _is(0, _PR_SCHED_CORE)),
    # names of memory, which the kernel keeps and counts for nobody
    _idle(_PRCTL, _is(0, _PR_SET_VMA)),
)
