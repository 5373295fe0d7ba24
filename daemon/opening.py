"""What has to be there before a service runs: folders, a database that answers and owns the home, a judge."""

from __future__ import annotations

import resource
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from daemon import belonging, log, results
from daemon.config import Settings
from daemon.db import migrate
from daemon.db.connection import Database, file_of
from daemon.db.errors import StorageDamaged, StorageUnavailable, past_bad_reads
from daemon.db.history import History
from daemon.errors import HarnessError, OperatorError
from daemon.executor.local import LocalEngine
from daemon.executor.rehearsal import RehearsalEngine
from daemon.listener import Listener, Silence
from daemon.mounts import mount_of
from daemon.notify import Notifier
from daemon.outage import back_off_s
from daemon.service import Service

_LEAST_OPEN_FILES = 128  # a daemon has some forty open, a judge of its own as many


@contextmanager
def opened(
    settings: Settings, listener: Listener | None = None, stopped: Callable[[], bool] | None = None
) -> Iterator[Service]:
    """A service ready to run: folders made, database ready, a judge started and its sandbox tried.

    With `stopped`, a database server that does not answer is waited for until `stopped()`; the service then has no
    judge and is only good for being stopped. Raises `OperatorError` when this host or these settings cannot judge,
    `StorageUnavailable`.
    """
    require_open_files()
    notifier = Notifier.from_environment()
    notifier.status("opening the database and starting the judge")
    with ExitStack() as home:
        ready = _home_ready(settings, home, notifier, stopped)
        engine = _engine(settings)
        try:
            if ready:
                engine.start()
            yield Service(settings, engine, listener or Silence(), notifier)
        finally:
            engine.close()


def require_open_files() -> None:
    """Raises `OperatorError` where a process of this shell may open too few files. A file that it could not open would
    be blamed on the bundle or the client that it is opened for."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and most < _LEAST_OPEN_FILES:
        raise OperatorError(
            f"no more than {most} files may be open here, and a daemon needs {_LEAST_OPEN_FILES}",
            hint="ulimit -Hn   shows how many; start it from another shell, or set LimitNOFILE= in its unit",
        )
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if soft != resource.RLIM_INFINITY and soft < _LEAST_OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (_LEAST_OPEN_FILES, most))


def _home_ready(settings: Settings, home: ExitStack, notifier: Notifier, stopped: Callable[[], bool] | None) -> bool:
    """As `_database_ready`, in folders that are there. An error that names no place, say of an open file, then says at
    least what could not be done."""
    try:
        settings.paths.create()
        return _database_ready(settings, home, notifier, stopped)
    except OSError as error:
        if error.filename is not None:
            raise
        place = settings.paths.home
        raise HarnessError(
            f"cannot open the home {place}: {error.strerror or error}",
            hint=f"findmnt -T {shlex.quote(str(place))} and dmesg   tell of the disk or the file server",
        ) from error


def _database_ready(
    settings: Settings, home: ExitStack, notifier: Notifier, stopped: Callable[[], bool] | None
) -> bool:
    """Make the database ready, and the home its own as long as `home` is open. False: it did not answer until
    `stopped()`.

    SQLite is not waited for: it has no server that could come back. Raises `OperatorError` when the home belongs to
    another database, or its database is damaged.
    """
    url = settings.database_url
    complain_at_s = 0.0
    while stopped is None or not stopped():
        try:
            migrate.ensure_ready(url)
            past_bad_reads(lambda: _move_in(settings, home))
        except StorageDamaged as error:
            raise OperatorError(error.message, hint=error.hint) from error
        except StorageUnavailable as error:
            if stopped is None or file_of(url) is not None:
                raise
            if time.monotonic() >= complain_at_s:
                complain_at_s = time.monotonic() + log.COMPLAIN_EVERY_S
                log.story("waiting for the database, nothing is claimed", level=30, reason=error)
            notifier.status(f"waiting for the database: {error.message}")
            notifier.extend(log.COMPLAIN_EVERY_S)
            time.sleep(back_off_s())
        else:
            return True
    return False


def _move_in(settings: Settings, home: ExitStack) -> None:
    """Where other hosts may share the inbox, it belongs to its database for good; else to the daemons at work. Raises
    `HarnessError` where the bundles of its jobs are out of sight."""
    mount = mount_of(settings.paths.database_id.parent)
    database = Database(settings.database_url)
    try:
        history = History(database)
        if history.is_new() and results.are_any(settings.paths):
            log.story("the database is new, although there are results of an earlier one", level=30)
        whose = (settings.paths, history.database_id(), database.name)
        belonging.require_bundles(*whose, count_unfinished=history.unfinished)
        if mount is not None and mount.is_network:
            belonging.require_own(*whose)
        else:
            home.enter_context(belonging.held(*whose))
        with suppress(OSError):  # a full disk: it is only not noticed when the inbox is not mounted
            belonging.remember(settings.paths)
    finally:
        database.close()


def _engine(settings: Settings) -> LocalEngine | RehearsalEngine:
    if settings.engine == "rehearsal":
        return RehearsalEngine(settings.slots, settings.rehearsal_s, has_gpu=settings.device != "cpu")
    return LocalEngine(settings)
