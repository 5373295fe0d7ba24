"""What crosses the border of the database room about daemons: frozen, and free of SQLAlchemy. Times are aware UTC
datetimes, by the database's clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from daemon.engine import DeviceState


class DaemonState(StrEnum):
    """What a daemon said last about itself. One that was killed says nothing more: look at `seen_at`."""

    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


@dataclass(frozen=True)
class DaemonNote:
    """What a daemon tells about itself. `owner`: what its leases carry (host-boot-pid). `lease_s`: how many seconds
    after its last sign of life it counts as gone. `devices`: one per slot."""

    owner: str
    host: str
    pid: int
    version: str
    slots: int
    inbox: str
    lease_s: float
    devices: tuple[DeviceState, ...] = ()


@dataclass(frozen=True)
class DaemonRecord:
    """One daemon as the database knows it. `is_missing`: not stopped, and silent for longer than its lease.
    `is_drained`: somebody drained its host, whether it has noticed yet or not."""

    owner: str
    host: str
    pid: int
    version: str
    slots: int
    inbox: str
    lease_s: float
    state: DaemonState
    started_at: datetime
    seen_at: datetime
    devices: tuple[DeviceState, ...]
    is_missing: bool
    is_drained: bool

    @property
    def is_there(self) -> bool:
        """Neither stopped nor missing."""
        return self.state is not DaemonState.STOPPED and not self.is_missing


def host_of(owner: str) -> str:
    """The host in the name of a lease's owner (host-boot-pid)."""
    return owner.rsplit("-", 2)[0]
