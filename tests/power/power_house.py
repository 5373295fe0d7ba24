"""A machine whose power can be cut: a guest with one disk for the spool and one for the state.

Two disks, for a flush of one file takes what else waits on the same disk along. Neither writes anything by itself: the
journal's timer is set far off, so that what nobody flushed is lost.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from uml_guest import Guest, make_disk, wait_for

REPOSITORY = Path(__file__).parents[2]
DISK_BYTES = 256 << 20
LIMIT_S = 400.0
SETTINGS = """
home = "/run/disk/home"
state = "/run/share/state"
engine = "rehearsal"
rehearsal_s = 0.1
slots = 2
claim_ahead = 3
max_attempts = 20
scan_interval_s = 0.5
quiet_s = 0.2
min_free_bytes = 1000000
"""
MOUNT = """
set -e
mount -t ext4 -o commit=3000 /dev/ubda /run/disk
mount -t ext4 -o commit=3000 /dev/ubdb /run/share
"""
START = f"""
cd {REPOSITORY}
printf '%s' "$1" >/run/local/evald.toml
export EVALD_CONFIG=/run/local/evald.toml
setsid {sys.executable} -m daemon run >>/run/host/log 2>&1 </dev/null &
echo $! >/run/local/pid
"""
STOP = "kill $(cat /run/local/pid); tail --pid=$(cat /run/local/pid) -f /dev/null"
# As a careful sender does it: copied under hidden names, safe on the disk, renamed, and told so by the disk.
DROP = """
set -e
cd /run/disk/home/inbox
for bundle in "$1"/*; do cp -r "$bundle" ".$(basename "$bundle").tmp"; done
sync -f .
for bundle in "$1"/*; do mv ".$(basename "$bundle").tmp" "$(basename "$bundle")"; done
sync -f .
"""
LOOK = """
cp -r /run/share/state "/run/host/$1"
cd /run/disk/home
find . -mindepth 1 >"/run/host/$1.list"
find results/by-name -type l -exec readlink -e {} + >"/run/host/$1.named"
"""


class House:
    """One home on a machine of its own. `log`: what its daemons said, which no power cut takes away."""

    def __init__(self, folder: Path) -> None:
        disks = [make_disk(folder / name, DISK_BYTES) for name in ("spool", "state")]
        self._guest = Guest(folder, "house", disks=disks)
        self._looks = 0

    def switch_on(self) -> None:
        """Boot, and mount what the last power cut left. Raises `OSError` or `AssertionError` where that fails."""
        self._guest.boot()
        self._guest.run(MOUNT)

    def cut(self) -> None:
        self._guest.kill()

    def start(self) -> None:
        """A daemon, which watches when this returns."""
        before = self.log.count("watching ")
        self._guest.run(START, SETTINGS)
        self.wait(lambda: self.log.count("watching ") > before, "the daemon to watch")

    def stop(self) -> None:
        self._guest.run(STOP)

    def drop(self, batch: Path) -> None:
        """Move the bundles of a folder into the inbox; they are safe there when this returns."""
        self._guest.run(DROP, self._guest.hand_over(batch))

    def look(self) -> Path:
        """Copies of the state folder at the path returned; beside it, lists of what lies in the home (`.list`) and
        where the names of results point (`.named`)."""
        self._looks += 1
        self._guest.run(LOOK, f"look{self._looks}")
        return self._guest.shared / f"look{self._looks}"

    @property
    def log(self) -> str:
        path = self._guest.shared / "log"
        return path.read_text("utf-8", "replace") if path.exists() else ""

    def is_tidy(self) -> bool:
        """Whether nothing waits or is being judged."""
        return not self._guest.run("cd /run/disk/home; find inbox work results/.outbox -mindepth 1").split()

    def wait(self, condition: Callable[[], object], what: str) -> None:
        try:
            wait_for(condition, what, LIMIT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log[-3000:]}") from None
