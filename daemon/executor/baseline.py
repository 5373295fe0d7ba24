"""What the control of a device took when its judge was fresh: one small file per device in the state folder.

Every judge of a device is compared with it, including those of later daemons. It counts only for the evald, torch,
device and driver it was measured with, under the settings it was measured under. Slots that share a device share the
file. It is read before every comparison and replaced as a whole, so the one written last counts. No torch.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from pydantic import AwareDatetime, Field, ValidationError

from daemon import fsio, log
from daemon.evaluation import Environment, Frozen
from daemon.executor.control import Figures
from daemon.executor.host.devices import Device
from daemon.paths import Paths


class Identity(Frozen):
    """What a baseline counts for. `workload`: `control.fingerprint`."""

    evald: str
    torch: str | None
    device_name: str | None
    driver: str | None
    workload: str

    @classmethod
    def of(cls, environment: Environment, workload: str) -> Identity:
        return cls(
            evald=environment.evald,
            torch=environment.torch,
            device_name=environment.device_name,
            driver=environment.driver,
            workload=workload,
        )

    def changes_since(self, before: Identity) -> list[str]:
        """The fields that are not what they were."""
        was = before.model_dump()
        return [name for name, value in self.model_dump().items() if value != was[name]]


class Drift(Frozen):
    """The device itself changed. `at`: since when. `ratio`: by which factor the time of its control changed then."""

    at: AwareDatetime
    ratio: float = Field(gt=0)

    def __str__(self) -> str:
        change = "longer" if self.ratio > 1 else "less"
        share = abs(self.ratio - 1) * 100
        return f"its control kernel takes {share:.3g} % {change} since {self.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


class Baseline(Frozen):
    """`at`: when it was measured; `last_at`: when the device had its last control; `drift`: how it changed when this
    became its baseline."""

    identity: Identity
    figures: Figures
    at: AwareDatetime
    last_at: AwareDatetime
    drift: Drift | None = None


def path_of(device: Device, paths: Paths) -> Path:
    """Where the baseline of `device` lies: one file per GPU, one for the CPU."""
    return paths.controls / f"{device.key}.json"


def read(path: Path) -> Baseline | None:
    """The baseline of a device. None where there is none, or it cannot be read: that is logged, and the next control
    replaces it."""
    try:
        return Baseline.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = f"{error.error_count()} fields are wrong" if isinstance(error, ValidationError) else error
        log.story("the baseline of the control cannot be read", level=30, file=path, reason=reason)
        return None


def read_for(path: Path, identity: Identity) -> Baseline | None:
    """The baseline, if it counts for `identity`."""
    found = read(path)
    if found is not None and (changed := identity.changes_since(found.identity)):
        log.story("the baseline of the control no longer counts", file=path, changed=", ".join(changed))
        return None
    return found


def write(path: Path, baseline: Baseline) -> None:
    """Replace the file. A disk that refuses is logged: the next control tries again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fsio.write_atomic(path, baseline.model_dump_json(indent=1).encode() + b"\n")
    except OSError as error:
        log.story("cannot write the baseline of the control", level=30, file=path, reason=error)


def now() -> datetime:
    return datetime.now(UTC)
