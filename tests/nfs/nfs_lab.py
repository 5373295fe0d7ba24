"""Three kernels on one cable: a file server and two clients, all user-mode Linux, joined by a bridge.

Theory of operation. Each guest is one process of this host with a kernel, a host name and a boot id of its own; its
root is the host's, read-only (`guest.sh`). The bridge and one tap per guest are in a network namespace that lives as
long as the process that holds it, so nothing of it is ever seen outside; taking a tap off the bridge is pulling that
guest's cable. The server's disk is a file with ext4 on it: killing the server's kernel and booting another one on that
file is a reboot after a crash. nfsd is told what to export through its own files in /proc: no package is needed but the
kernel.
Everything ends with `close`, whatever state it is in.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KERNEL = Path("/usr/bin/linux.uml")
MODULES = Path("/usr/lib/uml/modules")
GATEWAY = "10.77.0.254"
SERVER = "10.77.0.1"
DATABASE_PORT = 5432
BOOT_LIMIT_S = 90.0
COMMAND_LIMIT_S = 120.0
POLL_S = 0.1
TOOLS = ("ip", "unshare", "nsenter", "mkfs.ext4", "modprobe")

# Flags of an export, linux/nfsd/export.h: any port, no subtree check, named by a number (0: the root). Not async.
EXPORT_FLAGS = 0x0002 | 0x0400 | 0x2000
GRACE_S = 10
SERVE = f"""
set -e
modprobe -d /run/modules nfsd
mount -t ext4 /dev/ubda /run/disk
mkdir -p /run/disk/share /run/disk/recovery
mount -t nfsd nfsd /proc/fs/nfsd
cd /proc/fs/nfsd
echo /run/disk/recovery >nfsv4recoverydir
echo {GRACE_S} >nfsv4leasetime
echo {GRACE_S} >nfsv4gracetime
echo "-3 +4 +4.1 +4.2" >versions
echo "tcp 2049" >portlist
never=4000000000
for client in 10.77.0.11 10.77.0.12; do
    echo "nfsd $client $never lab" >/proc/net/rpc/auth.unix.ip/channel
done
echo "lab 1 \\\\x00000000 $never /run/disk/share" >/proc/net/rpc/nfsd.fh/channel
echo "lab /run/disk/share $never {EXPORT_FLAGS} 65534 65534 0" >/proc/net/rpc/nfsd.export/channel
echo 4 >threads
[ "$1" = again ] || echo Y >v4_end_grace # nobody can have anything to reclaim
"""
MOUNT = f"""
set -e
modprobe -d /run/modules nfsv4
mount -i -t nfs4 -o "addr={SERVER},clientaddr=$1,$2" {SERVER}:/ /run/share
"""


def missing() -> str | None:
    """Why there can be no lab here; None when it can be tried."""
    if os.geteuid() != 0:
        return "only root can make the network of the guests"
    if not KERNEL.exists() or not list(MODULES.glob("*/kernel/fs/nfsd/nfsd.ko")):
        return "not installed: user-mode-linux"
    tools = [tool for tool in TOOLS if shutil.which(tool) is None]
    if tools:
        return f"not installed: {', '.join(tools)}"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun: guests cannot have a network"
    if Path(sys.prefix).is_relative_to("/run"):
        return "this installation lies below /run, which guests have for themselves"
    return None


def wait_for(condition: Callable[[], Any], what: str, limit_s: float) -> Any:
    """The first true answer; fails after `limit_s`."""
    deadline_s = time.monotonic() + limit_s
    while not (answer := condition()):
        assert time.monotonic() < deadline_s, f"waited {limit_s} s in vain for: {what}"
        time.sleep(POLL_S)
    return answer


class Network:
    """A bridge in a network namespace of its own. Raises `OSError` with the reason where that cannot be had."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        self._place = Path(f"/proc/{self._keeper.pid}/ns/net")
        try:
            wait_for(self._is_made, "a network namespace", 10)
            self.ip("link", "add", "cable", "type", "bridge")
            self.ip("address", "add", f"{GATEWAY}/24", "dev", "cable")
            self.ip("link", "set", "cable", "up")
        except BaseException:
            self.close()
            raise

    def _is_made(self) -> bool:
        if self._keeper.poll() is not None:
            raise OSError("this host allows no network namespace")
        return self._place.readlink() != Path("/proc/self/ns/net").readlink()

    def inside(self, *command: str) -> list[str]:
        """The command line that runs `command` in this network."""
        return ["nsenter", f"--net={self._place}", "--", *command]

    def ip(self, *arguments: str) -> None:
        command = self.inside("ip", *arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        if done.returncode != 0:
            raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")

    def plug(self, tap: str) -> None:
        """A new tap on the bridge."""
        self.ip("tuntap", "add", tap, "mode", "tap")
        self.ip("link", "set", tap, "master", "cable", "up")

    def cut(self, tap: str) -> None:
        """Pull the cable at the bridge; the guest is told nothing. (After a tap was down, vec0 is dead for good.)"""
        self.ip("link", "set", tap, "nomaster")

    def mend(self, tap: str) -> None:
        self.ip("link", "set", tap, "master", "cable")

    def close(self) -> None:
        self._keeper.kill()
        self._keeper.wait(10)


class Guest:
    """One kernel with a name and an address. `disk`: the file that is its /dev/ubda."""

    def __init__(self, folder: Path, network: Network, name: str, address: str, disk: Path | None = None) -> None:
        self.name, self.address = name, address
        self.tap = f"tap-{name}"
        self._mac = f"02:00:00:00:00:{int(address.rpartition('.')[2]):02x}"  # the same after a reboot, as of a card
        self._folder = folder / name
        self._exchange = self._folder / "exchange"
        self._exchange.mkdir(parents=True)
        self._network = network
        self._disk = disk
        self._count = 0
        self._kernel: subprocess.Popen[bytes] | None = None
        self._console = self._folder / "console"
        network.plug(self.tap)

    def boot(self) -> None:
        """Start a kernel; it is up when the first command has been answered."""
        command = [
            *(str(KERNEL), "mem=320M", "quiet", "ro", "root=/dev/root", "rootfstype=hostfs", "rootflags=/"),
            *(f"init={HERE / 'guest.sh'}", "con=null", "con0=fd:0,fd:1", f"uml_dir={self._folder}/uml"),
            f"vec0:transport=tap,ifname={self.tap},depth=64,mac={self._mac}",
            *(f"guest_name={self.name}", f"guest_address={self.address}", f"guest_exchange={self._exchange}"),
            *([f"ubd0={self._disk}"] if self._disk else []),
        ]
        with self._console.open("wb") as console:
            self._kernel = subprocess.Popen(
                self._network.inside(*command),
                stdin=subprocess.PIPE,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "HOME": str(self._folder), "TMPDIR": _memory_folder()},
            )

    def is_up(self) -> bool:
        """Raises `OSError` with the console when the kernel has ended."""
        assert self._kernel is not None
        if self._kernel.poll() is not None:
            raise OSError(f"the kernel of {self.name} ended: {self.console()[-1500:]}")
        return "is up>" in self.console()

    def console(self) -> str:
        return self._console.read_text("utf-8", "replace")

    def begin(self, script: str, *arguments: str) -> int:
        """Let the guest run a shell script; its number is for `end`. The guest runs one after the other."""
        assert self._kernel is not None and self._kernel.stdin is not None
        wait_for(self.is_up, f"{self.name} to boot\n{self.console()[-1500:]}", BOOT_LIMIT_S)
        self._count += 1
        words = "".join(f" '{word}'" for word in arguments)
        (self._exchange / f"{self._count}.sh").write_text(f"set --{words}\n{script}\n", "utf-8")
        self._kernel.stdin.write(f"{self._count}\n".encode())
        self._kernel.stdin.flush()
        return self._count

    def end(self, number: int, *, check: bool = True, limit_s: float = COMMAND_LIMIT_S) -> str:
        """What script `number` wrote, once it has ended; with `check` its exit code must be 0."""
        mark = f"<done {number} "
        try:
            wait_for(lambda: self.is_up() and mark in self.console(), f"an answer of {self.name}", limit_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self._script(number)}\n{self.console()[-1500:]}") from None
        code = self.console().partition(mark)[2].partition(">")[0]
        output = (self._exchange / f"{number}.out").read_text("utf-8", "replace")
        assert not check or code == "0", f"{self.name}: exit code {code}\n{self._script(number)}\n{output}"
        return output

    def run(self, script: str, *arguments: str, check: bool = True, limit_s: float = COMMAND_LIMIT_S) -> str:
        return self.end(self.begin(script, *arguments), check=check, limit_s=limit_s)

    def hand_over(self, source: Path) -> str:
        """Copy a folder to where the guest sees it; returns the path there."""
        shutil.copytree(source, self._exchange / source.name)
        return f"/run/host/{source.name}"

    def _script(self, number: int) -> str:
        return (self._exchange / f"{number}.sh").read_text("utf-8")

    def kill(self) -> None:
        """The power cut of this guest."""
        if self._kernel is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._kernel.pid, signal.SIGKILL)
        self._kernel.wait(20)
        if self._kernel.stdin is not None:
            self._kernel.stdin.close()
        self._kernel = None


def _memory_folder() -> str:
    """Where a guest's memory is a file: not on a disk, if there is room."""
    shm = Path("/dev/shm")
    return str(shm) if shm.is_dir() and shutil.disk_usage(shm).free > 2 << 30 else "/tmp"


class Lab:
    """The server and two clients, booted, the share mounted on both as /run/share. Use `close`."""

    def __init__(self, folder: Path) -> None:
        self._relay: subprocess.Popen[bytes] | None = None
        self.guests: list[Guest] = []
        self.network = Network()
        try:
            disk = folder / "disk"
            with disk.open("wb") as stream:
                stream.truncate(256 << 20)
            subprocess.run(["mkfs.ext4", "-q", "-F", str(disk)], check=True, timeout=60, capture_output=True)
            self.server = self._guest(folder, "server", SERVER, disk)
            self.clients = [self._guest(folder, "alpha", "10.77.0.11"), self._guest(folder, "beta", "10.77.0.12")]
        except BaseException:
            self.close()
            raise

    def _guest(self, folder: Path, name: str, address: str, disk: Path | None = None) -> Guest:
        self.guests.append(Guest(folder, self.network, name, address, disk))
        return self.guests[-1]

    def boot(self) -> None:
        """Raises `OSError` or `AssertionError` with the reason when a guest does not come up."""
        for guest in self.guests:
            guest.boot()
        self.server.run(SERVE, "first")

    def mount(self, options: str) -> None:
        begun = [client.begin(MOUNT, client.address, options) for client in self.clients]
        for client, number in zip(self.clients, begun, strict=True):
            client.end(number)

    def reboot_server(self) -> None:
        """Kill the server's kernel in whatever it does, and boot another one on its disk."""
        self.server.kill()
        self.server.boot()
        self.server.run(SERVE, "again")

    def relay_database(self, socket: Path) -> None:
        """Let the guests reach the Postgres behind a unix socket, at GATEWAY."""
        command = [sys.executable, str(HERE / "relay.py"), GATEWAY, str(DATABASE_PORT), str(socket)]
        self._relay = subprocess.Popen(self.network.inside(*command), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        assert self._relay.stdout is not None
        assert self._relay.stdout.readline() == b"ready\n"

    def close(self) -> None:
        for guest in self.guests:
            guest.kill()
        if self._relay is not None:
            self._relay.kill()
            self._relay.wait(10)
            assert self._relay.stdout is not None
            self._relay.stdout.close()
        self.network.close()
