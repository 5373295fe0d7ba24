"""A really booted systemd in namespaces, over a throw-away copy of this machine's root.

`boot.sh` says how. The units that would touch the kernel of the host are masked. What a test does inside leaves
nothing: the root is an overlay on a tmpfs, and the whole thing dies with its first process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

SCRIPT = Path(__file__).parent / "boot.sh"
SYSTEMD = Path("/usr/lib/systemd/systemd")
BOOT_LIMIT_S = 120.0
MASKED = (
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "man-db.timer"),
    *("fstrim.timer", "logrotate.timer", "postgresql.service", "dbus.socket", "dbus.service", "cron.service"),
    *(
        "systemd-sysctl.service",
        "systemd-modules-load.service",
        "systemd-binfmt.service",
        "systemd-random-seed.service",
    ),
    *("proc-sys-fs-binfmt_misc.automount", "proc-sys-fs-binfmt_misc.mount", "dev-hugepages.mount", "dev-mqueue.mount"),
    *("sys-kernel-debug.mount", "sys-kernel-tracing.mount", "sys-kernel-config.mount", "sys-fs-fuse-connections.mount"),
    *("systemd-remount-fs.service", "systemd-udevd.service", "systemd-udev-trigger.service", "systemd-logind.service"),
    *("systemd-journald-audit.socket", "systemd-update-utmp.service", "systemd-tmpfiles-setup-dev.service"),
    *("systemd-tmpfiles-setup.service", "systemd-tmpfiles-clean.timer", "systemd-sysusers.service"),
    *("systemd-networkd.service", "systemd-networkd-wait-online.service", "networking.service", "tmp.mount"),
)
TARGET = "[Unit]\nRequires=basic.target\nAfter=basic.target\nAllowIsolate=yes\n"


def missing() -> str | None:
    """Why no systemd can be booted here; None when it can be tried."""
    if os.geteuid() != 0:
        return "only root can boot a systemd in namespaces"
    tools = [tool for tool in ("unshare", "nsenter", "pivot_root", "systemctl") if shutil.which(tool) is None]
    if tools or not SYSTEMD.exists():
        return f"not installed: {', '.join(tools) or 'systemd'}"
    if Path(sys.prefix).is_relative_to("/tmp"):
        return "this installation lies below /tmp, which a unit with a /tmp of its own cannot see"
    if cgroup_root() is None:
        return "no writable cgroup v2 hierarchy"
    return None


def cgroup_root() -> Path | None:
    """Where this host shows cgroup v2, when we may make groups there."""
    for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
        _, point, kind, *_ = line.split(" ")
        if kind == "cgroup2" and os.access(point, os.W_OK) and _can_make_groups(Path(point)):
            return Path(point)
    return None


def _can_make_groups(root: Path) -> bool:
    probe = root / f"evald-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        return False
    return True


class Machine:
    """One booted systemd. `shared` is seen as /srv inside."""

    def __init__(self, folder: Path) -> None:
        self.shared = folder / "shared"
        scratch, units = folder / "scratch", folder / "units"
        for made in (self.shared, scratch, units):
            made.mkdir()
        (units / "evald-test.target").write_text(TARGET, "utf-8")
        for name in MASKED:
            (units / name).symlink_to("/dev/null")
        root = cgroup_root()
        assert root is not None
        self._cgroup = root / f"evald-boot-{os.getpid()}-{folder.name}"
        self._cgroup.mkdir()
        self._console = (folder / "console").open("wb")
        self._console_path = folder / "console"
        argv = (SCRIPT, scratch, self.shared, units)
        joined = 'echo $$ >"$1/cgroup.procs" && shift && exec unshare "$@"'
        namespaces = ("--mount", "--pid", "--fork", "--kill-child", "--uts", "--ipc", "--cgroup")
        self._outer = subprocess.Popen(
            ["/bin/sh", "-c", joined, "sh", str(self._cgroup), *namespaces, "/bin/sh", *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=self._console,
        )
        self._pid = 0

    def boot(self) -> None:
        """Raises `TimeoutError` with the console when it does not come up."""
        try:
            self.wait_for(self._is_up, "systemd to come up", BOOT_LIMIT_S)
        except AssertionError as error:
            raise TimeoutError(
                f"{error}; console: {self._console_path.read_text('utf-8', 'replace')[-2000:]}"
            ) from error

    def _is_up(self) -> bool:
        if self._outer.poll() is not None:
            raise TimeoutError(f"systemd ended: {self._console_path.read_text('utf-8', 'replace')[-2000:]}")
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children").read_text("ascii").split()
        if not children or not Path(f"/proc/{children[0]}/exe").resolve().name.startswith("systemd"):
            return False
        self._pid = int(children[0])
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def run(self, *command: str, check: bool = True, limit_s: float = 180) -> subprocess.CompletedProcess[str]:
        """Run a command inside, as root."""
        done = subprocess.run(
            ["nsenter", "-t", str(self._pid), "--all", "--", *command],
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout}{done.stderr}{self.journal()}"
        return done

    def journal(self) -> str:
        return self.run("journalctl", "--no-pager", "-o", "cat", "-u", "evald*", "-n", "400", check=False).stdout

    def show(self, unit: str, name: str) -> str:
        """One property of a unit."""
        return self.run("systemctl", "show", "--value", "-p", name, unit).stdout.strip()

    def read(self, path: str) -> str | None:
        done = self.run("cat", path, check=False)
        return done.stdout if done.returncode == 0 else None

    def write(self, path: str, text: str) -> None:
        place = Path(path)
        script = 'mkdir -p "$1" && printf %s "$3" > "$1/$2"'
        self.run("sh", "-c", script, "sh", str(place.parent), place.name, text)

    def wait_for(self, condition: Callable[[], object], what: str, limit_s: float = 240.0) -> None:
        deadline = time.monotonic() + limit_s
        while not condition():
            assert time.monotonic() < deadline, (
                f"waited {limit_s} s in vain for: {what}\n{self.journal() if self._pid else ''}"
            )
            time.sleep(0.05)

    def power_off(self) -> None:
        """Kill it all: a power cut."""
        self._outer.kill()
        self._outer.wait(120)
        self._console.close()
        deadline = time.monotonic() + 120
        while self._cgroup.exists() and time.monotonic() < deadline:
            for folder in sorted(self._cgroup.rglob("*/"), key=lambda path: -len(path.parts)):
                _try_rmdir(folder)
            _try_rmdir(self._cgroup)
            time.sleep(0.02)


def _try_rmdir(folder: Path) -> None:
    if folder.is_dir():
        try:
            folder.rmdir()
        except OSError:
            return
