"""Three kernels on one cable: a file server and two clients, all user-mode Linux, joined by a bridge.

Theory of operation. Each guest (`uml_guest`) has a kernel, a host name and a boot id of its own. The bridge and one
tap per guest are in a network namespace that lives as long as the process that holds it, so nothing of it is ever seen
outside; taking a tap off the bridge is pulling that guest's cable. The server's disk is a file with ext4 on it: killing
the server's kernel and booting another one on that file is a reboot after a crash. nfsd is told what to export through
its own files in /proc: no package is needed but the kernel.
Everything ends with `close`, whatever state it is in.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import uml_guest
from uml_guest import Guest, wait_for

HERE = Path(__file__).parent
MODULES = Path("/usr/lib/uml/modules")
GATEWAY = "10.77.0.254"
SERVER = "10.77.0.1"
DATABASE_PORT = 5432
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
    if (reason := uml_guest.missing(*TOOLS)) is not None:
        return reason
    if not list(MODULES.glob("*/kernel/fs/nfsd/nfsd.ko")):
        return "not installed: the modules of user-mode-linux"
    if not Path("/dev/net/tun").exists():
        return "no /dev/net/tun: guests cannot have a network"
    return None


class Network:
    """A bridge in a network namespace of its own. Raises `OSError` with the reason where that cannot be had."""

    def __init__(self) -> None:
        self._keeper = subprocess.Popen(["unshare", "--net", "sleep", "infinity"], stdin=subprocess.DEVNULL)
        self._place = Path(f"/proc/{self._keeper.pid}/ns/net")
        try:
            wait_for(self._is_made, "a network namespace", 120)
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
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
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
        self._keeper.wait(120)


class Host(Guest):
    """A guest with an address in a network."""

    def __init__(self, folder: Path, network: Network, name: str, address: str, disks: Sequence[Path]) -> None:
        super().__init__(folder, name, disks=disks)
        self.address = address
        self.tap = f"tap-{name}"
        self._mac = f"02:00:00:00:00:{int(address.rpartition('.')[2]):02x}"  # the same after a reboot, as of a card
        self._network = network
        network.plug(self.tap)

    @property
    def prefix(self) -> list[str]:
        return self._network.inside()

    @property
    def devices(self) -> list[str]:
        card = f"vec0:transport=tap,ifname={self.tap},depth=64,mac={self._mac}"
        return [card, f"guest_address={self.address}"]


class Lab:
    """The server and two clients, booted, the share mounted on both as /run/share. Use `close`."""

    def __init__(self, folder: Path) -> None:
        self._relay: subprocess.Popen[bytes] | None = None
        self.guests: list[Host] = []
        self.network = Network()
        try:
            self.server = self._guest(folder, "server", SERVER, uml_guest.make_disk(folder / "disk", 256 << 20))
            self.clients = [self._guest(folder, "alpha", "10.77.0.11"), self._guest(folder, "beta", "10.77.0.12")]
        except BaseException:
            self.close()
            raise

    def _guest(self, folder: Path, name: str, address: str, *disks: Path) -> Host:
        self.guests.append(Host(folder, self.network, name, address, disks))
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
            self._relay.wait(120)
            assert self._relay.stdout is not None
            self._relay.stdout.close()
        self.network.close()
