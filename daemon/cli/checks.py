"""What `evald doctor` looks at. Each check answers what it found and what to type; none changes anything."""

from __future__ import annotations

import os
import resource
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from daemon import access, belonging, disks, mounts, results
from daemon.cli import device_checks, figures, installed, refused
from daemon.cli.check import Check, Status
from daemon.cli.commands_to_type import of_another
from daemon.cli.judging import owner_of
from daemon.config import Settings
from daemon.errors import HarnessError, OperatorError
from daemon.layers import LoadedSettings

if TYPE_CHECKING:
    from daemon.db.connection import Database

_LOOK_S = 20.0  # through a SQLite file: some gigabytes
_LOW_BYTES = 5 * 1024**3


def all_checks(loaded: LoadedSettings) -> Iterator[Check]:
    """Every check, the cheap ones first."""
    settings = loaded.settings
    yield from installed.all_checks()
    yield from _kernel_types(settings)
    yield _home(settings)
    yield _same_file_system(settings)
    yield _inbox_watching(settings)
    yield from _pause(settings)
    yield from _core_dumps()
    yield from _privacy(settings)
    yield from _metrics_file(settings)
    yield from _free_space(settings)
    yield (database := _database(settings))
    if database.status is Status.OK:
        yield from _bundles(settings)
        yield from _neighbours(settings)
    yield from device_checks.all_checks(settings)


def _kernel_types(settings: Settings) -> Iterator[Check]:
    """Those of `backend_paths`, without which nothing starts."""
    from daemon.executor import catalog

    if settings.backend_paths:
        try:
            found = ", ".join(catalog.load(settings.backend_paths))
        except OperatorError as error:
            yield Check("kernel types", Status.FAIL, error.message, error.hint)
        else:
            yield Check("kernel types", Status.OK, found)


def _home(settings: Settings) -> Check:
    paths = settings.paths
    folders = (*paths.spool, *results.shown_in(paths), paths.outbox, paths.state, paths.jobs)
    if found := refused.file_above(paths.home / "inbox"):
        return Check("home", Status.FAIL, found, "name another with --home DIR or EVALD_HOME")
    if found := next(filter(None, map(refused.in_the_way, folders)), None):
        return Check("home", Status.FAIL, found, f"ls -ld {shlex.quote(str(paths.home))}/*   shows what is there")
    if not paths.home.exists() and not paths.inbox.exists():
        if _is_refused(place := _existing(paths.home)):
            message = f"{paths.home} is not there, and this user may not make it in {place}"
            return Check("home", Status.FAIL, message, "name one where you may write, with --home DIR or EVALD_HOME")
        return Check("home", Status.OK, f"{paths.home} is not there yet; evald run makes it")
    unwritable = [str(folder) for folder in folders if _is_refused(folder)]
    if unwritable:
        places = " ".join(map(shlex.quote, unwritable))
        if any(os.statvfs(place).f_flag & os.ST_RDONLY for place in unwritable):
            hint = f"findmnt -T {shlex.quote(unwritable[0])}   shows how it is mounted: read-only"
        elif all(Path(place).stat().st_uid == os.getuid() for place in unwritable):
            hint = f"chmod u+rwx {places}"
        else:
            command = of_another(owner_of(paths.inbox), "doctor")
            hint = f"run this as whom it belongs to: {command}"
        return Check("home", Status.FAIL, f"this user may not write to {', '.join(unwritable)}", hint)
    return Check("home", Status.OK, str(paths.home))


def _is_refused(folder: Path) -> bool:
    """False also for what lies in a folder that is closed to us: that folder has a line of its own."""
    is_there = os.access(folder, os.F_OK, effective_ids=True)
    return is_there and not os.access(folder, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)


def _same_file_system(settings: Settings) -> Check:
    paths = settings.paths
    if apart := mounts.apart(paths.spool):
        names = ", ".join(folder.name for folder in apart)
        message = f"{names} and the inbox are on different mounts: bundles cannot be moved by rename"
        return Check("spool", Status.FAIL, message, f"mount all of {paths.inbox.parent}, and no folder in it")
    return Check("spool", Status.OK, f"inbox, work and archive are on one mount ({paths.inbox.parent})")


def _core_dumps(pattern: Path = Path("/proc/sys/kernel/core_pattern")) -> Iterator[Check]:
    """Some kernels start a program for every crash. Only a limit of 1 byte keeps them from starting it for a cell's
    crash."""
    piped = pattern.read_text("utf-8", "replace").startswith("|") if pattern.exists() else False
    if piped and resource.getrlimit(resource.RLIMIT_CORE)[1] == 0:
        message = "the kernel runs a program as root for every crash of a cell, for the limit of core files is 0 here"
        yield Check("core dumps", Status.WARN, message, "start evald with a limit of 1: LimitCORE=1, or ulimit -c 1")


def _pause(settings: Settings) -> Iterator[Check]:
    from daemon.intake.pause import pause_reason

    if pause_reason(settings.paths) is not None:
        hint = f"rm {shlex.quote(str(settings.paths.pause))}"
        yield Check("pause", Status.WARN, "no new bundle is claimed while the pause file is there", hint)


def _hard_links(inbox: Path, switch: Path = Path("/proc/sys/fs/protected_hardlinks")) -> Iterator[Check]:
    """Where the protection is off, a sender may give any file of the same disk a name in the inbox, and root would read
    it."""
    if os.geteuid() == 0 and switch.exists() and switch.read_text("ascii").strip() == "0":
        message = f"a hard link in {inbox} may be one to a file that its sender may not read, and evald runs as root"
        yield Check("hard links", Status.WARN, message, "sysctl -w fs.protected_hardlinks=1")


def _privacy(settings: Settings) -> Iterator[Check]:
    """Where several users submit: whether they can read what is not theirs."""
    inbox = settings.paths.inbox
    if inbox.is_dir() and inbox.stat().st_mode & 0o022:
        yield from _hard_links(inbox)
        shared = f"{inbox} is shared by several users"
        if access.keeps_others_out(inbox):
            yield Check("waiting bundles", Status.OK, f"{shared}, who cannot read each other's bundles")
        else:
            hint = f"setfacl -d -m u::rwx,u:{os.getuid()}:rwx,g::---,o::--- {shlex.quote(str(inbox))}"
            yield Check("waiting bundles", Status.WARN, f"{shared}, who can read each other's bundles", hint)
    if settings.results_for == "submitter":
        yield _results_for_one(settings.paths.results)


def _metrics_file(settings: Settings) -> Iterator[Check]:
    if (file := settings.metrics_file) is None:
        return
    if not file.parent.is_dir():
        hint = f"mkdir -p {shlex.quote(str(file.parent))}"
        yield Check("metrics file", Status.WARN, f"{file.parent} is not there: no figures are written", hint)
    elif _is_refused(file.parent):
        hint = "name a file in a folder that it may write to"
        yield Check("metrics file", Status.WARN, f"this user may not write to {file.parent}", hint)
    else:
        yield Check("metrics file", Status.OK, str(file))


def _results_for_one(folder: Path) -> Check:
    place = _existing(folder)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".evald-doctor-") as trial:
            access.share_with(Path(trial.name), os.getuid())
    except OSError as error:
        message = (
            f"a single user cannot be let in at {place} ({error.strerror}): results are for this user's group alone"
        )
        return Check("results", Status.WARN, message, "keep results on a file system with POSIX access control lists")
    return Check("results", Status.OK, f"each for its submitter alone ({place})")


def _inbox_watching(settings: Settings) -> Check:
    mount = mounts.mount_of(settings.paths.inbox)
    kind = mount.fstype if mount else "unknown"
    network = mount is not None and mount.is_network
    if settings.polling == "never" and network:
        hint = 'set polling = "auto"'
        return Check("watching", Status.WARN, f"the inbox is on {kind}, where inotify sees no other host", hint)
    if mount is not None and mount.options & {"soft", "softerr"}:
        hint = f"mount {mount.point} with the option hard"
        return Check("watching", Status.WARN, f"{mount.point} gives up when its server is away (soft)", hint)
    if network or settings.polling == "always":
        return Check("watching", Status.OK, f"scans every {settings.scan_interval_s:g} s (inbox on {kind})")
    return Check("watching", Status.OK, f"inotify, and scans every {settings.scan_interval_s:g} s (inbox on {kind})")


def _free_space(settings: Settings) -> Iterator[Check]:
    paths = settings.paths
    seen: set[int] = set()
    for name, folder in (("state", paths.state), ("inbox", paths.inbox), ("results", paths.results)):
        place = _existing(folder)
        if place.stat().st_dev in seen:
            continue
        seen.add(place.stat().st_dev)
        disk = os.statvfs(place)
        free = disk.f_bavail * disk.f_frsize
        lacking = disks.lack_of(disk, settings.min_free_bytes)
        status = Status.FAIL if lacking is not None else Status.WARN if free < _LOW_BYTES else Status.OK
        message = f"{figures.size(free)} free at {place}" if lacking is None else f"{place} {lacking}"
        hint = "evald cleanup --dry-run   shows what could go"
        if _existing(paths.home) != paths.home:  # no evald yet that could be cleaned up
            hint = f"df -h {shlex.quote(str(place))}   shows the disk; name another home with --home DIR or EVALD_HOME"
        if disk.f_flag & os.ST_RDONLY:
            hint = f"findmnt -T {shlex.quote(str(place))}   shows how it is mounted"
        yield Check(f"space for {name}", status, message, None if status is Status.OK else hint)


def _database(settings: Settings) -> Check:
    from daemon.cli import store
    from daemon.db.connection import Database, file_of
    from daemon.db.filesystem import refuse_network

    try:
        file = file_of(settings.database_url)
        if file is not None and not store.is_there(file):
            refuse_network(file)
            if results.are_any(settings.paths):
                message = f"{file} is not there, although there are results"
                return Check("database", Status.WARN, message, "restore its backup; evald run makes a new one")
            return Check("database", Status.OK, f"{file} is not there yet; evald run makes it")
        database = Database(settings.database_url, must_exist=True)
        try:
            return _opened(database)
        finally:
            database.close()
    except (OperatorError, HarnessError) as error:
        return Check("database", Status.FAIL, error.message, error.hint)


def _opened(database: Database) -> Check:
    """The schema of the database, and whether all of a file can be read, or a server be written to.

    Raises `OperatorError` and `HarnessError` with what is wrong.
    """
    from daemon.db import revision

    if revision.current(database) is None:
        return Check("database", Status.OK, f"{database.name} is empty; evald run fills it")
    revision.require_current(database)
    found = f"{database.name}, schema {revision.REVISION}"
    if not database.is_sqlite and not database.try_writing():
        hint = "for questions it will do; whoever judges or submits over HTTP takes the role that writes"
        return Check("database", Status.WARN, f"{found}: this role may only read", hint)
    if database.is_sqlite and not database.looked_through(_LOOK_S):
        found = f"{found}; too large to be looked through here: evald db check takes its time"
    return Check("database", Status.OK, found)


def _bundles(settings: Settings) -> Iterator[Check]:
    """A failed check if the bundles of unfinished jobs are missing: a daemon would not start then."""
    from daemon.cli import store

    with suppress(OperatorError, HarnessError, OSError), store.history_if_any(settings) as history:
        if history is not None:
            mine, count = history.database_id(), history.unfinished()
            try:
                belonging.require_bundles(settings.paths, mine, "the database", lambda: count)
            except HarnessError as error:
                yield Check("bundles", Status.FAIL, error.message, error.hint)


def _neighbours(settings: Settings) -> Iterator[Check]:
    """Other daemons of this database that judge on a device that this host shares with them. Times and controls suffer
    from that sooner or later."""
    from daemon.cli import store
    from daemon.intake.owner import Owner

    sharing: dict[str, list[int]] = {}
    with suppress(OperatorError, HarnessError), store.history_if_any(settings) as history:
        here = Owner.current()
        for daemon in history.daemons() if history is not None else ():
            if daemon.is_there and daemon.host == here.host and Owner.of(daemon.owner).may_live(here):
                for device in {device.key for device in daemon.devices}:
                    sharing.setdefault(device, []).append(daemon.pid)
    for device, pids in sharing.items():
        if len(pids) > 1:
            listed = ", ".join(map(str, sorted(pids)))
            message = (
                f"{len(pids)} daemons of this host judge on {device} at once (pid {listed}): each disturbs the others"
            )
            hint = "stop all but one; its setting slots says how many it judges at once, and 1 measures best"
            yield Check("neighbours", Status.WARN, message, hint)


def _existing(folder: Path) -> Path:
    while not folder.exists():
        folder = folder.parent
    return folder
