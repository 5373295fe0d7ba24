"""`evald install-service`: put unit files, sysusers and tmpfiles in place, made for this installation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import click

from daemon.cli import screen
from daemon.cli.commands_to_type import program
from daemon.cli.complete import folders
from daemon.cli.options import json_option
from daemon.cli.pip_commands import evald_itself, install_all_of_evald
from daemon.errors import OperatorError

CONFIG = "/etc/evald/evald.toml"
STATE = "/var/lib/evald"
# Cells as root get uids of their own (SETUID, SETGID; SETFCAP because root is in the map, too); bundles and their
# folders belong to whoever dropped them.
ROOT_CAPABILITIES = "CAP_DAC_OVERRIDE CAP_FOWNER CAP_SETFCAP CAP_SETGID CAP_SETUID"
ROOT_CLEANUP_CAPABILITIES = "CAP_DAC_OVERRIDE CAP_FOWNER"
_UNITS = (
    "evald.service",
    "evald-sweep.service",
    "evald-sweep.timer",
    "evald-cleanup.service",
    "evald-cleanup.timer",
    "evald-http.service",
)
_BACK_OFF, _SHOW_GPU = "10-back-off.conf", "20-gpu.conf"
_BACK_OFF_SINCE = 254
_GPU = Path("/dev/nvidiactl")
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+@=-]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_PRIVATE_PLACES = (Path("/home"), Path("/root"), Path("/run/user"))
_PLACEHOLDER = re.compile(r"@([A-Z_]+)@")


class Outcome(StrEnum):
    """What happens to one file."""

    WRITTEN = "written"
    UNCHANGED = "unchanged"
    REPLACED = "replaced"
    KEPT = "kept"


@dataclass(frozen=True)
class File:
    """One file to be: where (below the prefix), and its text. `settings` files are the admin's once they exist."""

    path: Path
    text: str
    settings: bool = False

    def outcome(self) -> Outcome:
        """What installing would do. Raises `OSError` when the file cannot be read."""
        if not self.path.exists():
            return Outcome.WRITTEN
        if self.path.read_text("utf-8") == self.text:
            return Outcome.UNCHANGED
        return Outcome.KEPT if self.settings else Outcome.REPLACED


@click.command("install-service")
@click.option(
    "--prefix",
    default="/",
    metavar="DIR",
    shell_complete=folders,
    help="Write below DIR instead of / (for packages, for a look).",
)
@click.option(
    "--user",
    default="root",
    metavar="NAME",
    show_default=True,
    help="Run as this user; root gives cells uids of their own.",
)
@click.option("--gpu/--no-gpu", default=None, help="Show NVIDIA devices to the service (default: if there are any).")
@click.option("--cron", is_flag=True, help="Write a cron file instead of units.")
@click.option("--force", is_flag=True, help="Replace files that differ.")
@click.option("--dry-run", is_flag=True, help="Only say what would be written.")
@json_option
def command(*, prefix: str, user: str, gpu: bool | None, cron: bool, force: bool, dry_run: bool, as_json: bool) -> int:
    """Install evald as a service: systemd units, sysusers and tmpfiles, and a first /etc/evald/evald.toml.

    Nothing is started; what to type next is printed. Files that differ are not touched without --force, settings never.
    """
    wanted = files(Path(prefix).absolute(), user, gpu=_GPU.exists() if gpu is None else gpu, cron=cron)
    outcomes = {file.path: file.outcome() for file in wanted}
    _refuse_changes(outcomes, force=force)
    if not dry_run:
        _write([file for file in wanted if outcomes[file.path] in (Outcome.WRITTEN, Outcome.REPLACED)])
    if as_json:
        shown = {str(path): str(outcome) for path, outcome in outcomes.items()}
        screen.document({"dry_run": dry_run, "files": shown, "next": _next_steps(user, cron=cron)})
        return 0
    for path, outcome in outcomes.items():
        screen.line(f"{'would be ' if dry_run else ''}{outcome}  {path}")
    screen.say("next, type:" if not dry_run else "then one would type:")
    for step in _next_steps(user, cron=cron):
        screen.say(f"  {step}")
    return 0


def files(prefix: Path, user: str, *, gpu: bool = False, cron: bool = False, systemd: int | None = None) -> list[File]:
    """What belongs below `prefix` for this installation. `systemd`: its version, when not this host's.

    Raises `OperatorError` when this installation cannot run as `user` or lies where units cannot name it.
    """
    values = _values(user)
    etc = prefix / "etc"
    settings = File(etc / "evald" / "evald.toml", _filled("evald.toml", values), settings=True)
    if cron:
        return [File(etc / "cron.d" / "evald", _filled("evald.cron", values)), settings]
    system = etc / "systemd" / "system"
    units = [File(system / name, _filled(name, values)) for name in _UNITS]
    if (_systemd_version() if systemd is None else systemd) >= _BACK_OFF_SINCE:
        units.append(File(system / "evald.service.d" / _BACK_OFF, _drop_in(_BACK_OFF)))
    if gpu:
        units += [
            File(system / f"{unit}.service.d" / _SHOW_GPU, _drop_in(_SHOW_GPU)) for unit in ("evald", "evald-sweep")
        ]
    companions = [File(etc / f"{kind}.d" / "evald.conf", _filled(f"{kind}.conf", values)) for kind in _COMPANIONS]
    return [*units, *companions, settings]


_COMPANIONS = ("sysusers", "tmpfiles")


def templates() -> Path:
    """The folder of the templates: inside the installed package, or beside it in a checkout."""
    import daemon

    package = Path(daemon.__file__).parent
    found = next((place for place in (package / "systemd", package.parent / "systemd") if place.is_dir()), None)
    if found is None:
        raise OperatorError(f"the unit files are missing beside {package}", hint="install evald again")
    return found


def _drop_in(name: str) -> str:
    return (templates() / "evald.service.d" / name).read_text("utf-8")


def _filled(name: str, values: dict[str, str]) -> str:
    text = (templates() / name).read_text("utf-8")
    return re.sub(r"^\n(?=\n)", "", _PLACEHOLDER.sub(lambda found: values[found[1]], text), flags=re.MULTILINE)


def _values(user: str) -> dict[str, str]:
    if not _USER.fullmatch(user):
        raise OperatorError(f"{user!r} is not a name for a service user", hint="--user evald")
    as_root = user == "root"
    return {
        "EVALD": str(_program(user)),
        "DOCS": str(_documentation()),
        "CONFIG": CONFIG,
        "STATE": STATE,
        "USER": user,
        "GROUP": user,
        "SERVICE_USER": "User=root" if as_root else f"User={user}\nGroup={user}",
        "USER_ENTRY": "# The service runs as root." if as_root else f'u {user} - "evald" {STATE}',
        "PROTECT_HOME": _home_lines(),
        "CAPABILITIES": ROOT_CAPABILITIES if as_root else "",
        "CLEANUP_CAPABILITIES": ROOT_CLEANUP_CAPABILITIES if as_root else "",
    }


def _program(user: str) -> Path:
    """The console script of this installation."""
    program = Path(sys.executable).parent / "evald"
    if not program.is_file():
        hint = f"{install_all_of_evald()}, then: {program} install-service"
        raise OperatorError(f"there is no {program}", hint=hint)
    if not _PLAIN_PATH.fullmatch(str(program)):
        raise OperatorError(f"units cannot name {program}", hint="install evald below a plain path such as /opt/evald")
    closed = [folder for place in _places() for folder in _seen_above(place) if not folder.stat().st_mode & 0o001]
    if user != "root" and closed:
        raise OperatorError(
            f"{user} cannot reach this installation: {closed[-1]} is private",
            hint="install evald into /opt/evald: python3 -m venv /opt/evald && "
            f"/opt/evald/bin/pip install {evald_itself()}",
        )
    return program


def _places() -> list[Path]:
    """Every folder this installation runs from."""
    import daemon

    folders = (Path(sys.prefix), Path(sys.base_prefix), Path(daemon.__file__).parents[1])
    return [folder.resolve() for folder in folders]


def _seen_above(place: Path) -> list[Path]:
    """`place` and what lies above it as the service sees it: homes are replaced by empty, open folders."""
    parents = [folder for folder in place.parents if not _is_private(folder)]
    return [place, *parents]


def _is_private(place: Path) -> bool:
    return any(place.is_relative_to(private) for private in _PRIVATE_PLACES)


def _home_lines() -> str:
    """Hide every home; show what this installation needs of one."""
    private = sorted({str(place) for place in _places() if _is_private(place)})
    return f"tmpfs\nBindReadOnlyPaths={' '.join(private)}" if private else "yes"


def _documentation() -> Path:
    page = templates().parent / "docs" / "how-to" / "run-under-systemd.md"
    return page if page.is_file() and _PLAIN_PATH.fullmatch(str(page)) else Path("/usr/share/doc/evald")


def _systemd_version() -> int:
    """0 where there is none."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return 0
    done = subprocess.run([systemctl, "--version"], capture_output=True, text=True, timeout=30, check=False)
    found = re.match(r"systemd (\d+)", done.stdout)
    return int(found[1]) if found else 0


def _refuse_changes(outcomes: dict[Path, Outcome], *, force: bool) -> None:
    changed = [str(path) for path, outcome in outcomes.items() if outcome is Outcome.REPLACED]
    if changed and not force:
        raise OperatorError(
            "nothing was written; these files are there and differ:\n" + "\n".join(changed),
            hint="put your changes into `systemctl edit evald`, then type the same command with --force",
        )


def _write(wanted: list[File]) -> None:
    """With modes that do not depend on the umask. Under root's umask of 077 the service's user and submitters could not
    read the settings; under 0 everybody could write them."""
    from daemon import fsio

    before = os.umask(0o022)
    try:
        for file in wanted:
            file.path.parent.mkdir(parents=True, exist_ok=True)
            fsio.write_atomic(file.path, file.text.encode())
    finally:
        os.umask(before)


def _next_steps(user: str, *, cron: bool) -> list[str]:
    look = f"EVALD_CONFIG={CONFIG} {program()} doctor"  # the service's home, whichever is named here
    if cron:
        return [*_a_user_of_its_own(user), f"$EDITOR {CONFIG}", look]
    return [
        "systemd-sysusers && systemd-tmpfiles --create evald.conf",
        "systemctl daemon-reload",
        "systemctl enable --now evald.service evald-cleanup.timer",
        look,
    ]


def _a_user_of_its_own(user: str) -> list[str]:
    """What sysusers and tmpfiles do where there are units. With cron nothing else makes the user and the folders that
    its sweeps need."""
    if user == "root":
        return []
    return [
        f"useradd --system --user-group --home-dir {STATE} --shell /usr/sbin/nologin {user}   (if there is none)",
        f"install -d -o {user} -g {user} {STATE}",
    ]
