"""One server: its socket, its event loop, and a daemon of its own where nobody else judges.

Theory of operation: the socket is bound first, so a port that is taken costs nothing. The event loop runs in the main
thread and the daemon, if there is one, in another; a stop reaches both. What the daemon had not finished goes back to
the inbox, as it always does.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import resource
import selectors
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from enum import StrEnum

import anyio.to_thread
import uvicorn

from daemon import log, opening, service
from daemon.addresses import is_loopback
from daemon.config import Settings
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.errors import StorageDamaged
from daemon.db.history import History
from daemon.errors import EvaldError, HarnessError, OperatorError
from daemon.http.app import make_app
from daemon.http.connections import Connection
from daemon.http.tokens import Tokens
from daemon.intake.owner import Owner
from daemon.notify import Notifier
from daemon.stopping import Stop

_BACKLOG = 100
_UNREAD_MS = 60_000  # a client that takes nothing of its answer for so long is gone
_GRACE_S = 5
_KEEP_ALIVE_S = 75  # longer than clients keep a connection: else one is closed just as it is used again
# Every thread that computes takes its turn before the event loop gets its own again: few threads, short turns.
_THREADS = 8
_TURN_S = 0.001
_LOOK_EVERY_S = 1.0  # whether a read has told of a damaged database


class Judging(StrEnum):
    """Whether a server judges what it takes. AUTO: if there is no daemon at its start."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


def serve(settings: Settings, judging: Judging, stop: Stop, on_listening: Callable[[str], None]) -> None:
    """Serve until `stop`. `on_listening` is told the URL.

    Raises `OperatorError` when this address, these tokens or this host cannot be used, or the database is damaged.
    """
    opening.require_open_files()
    with ExitStack() as stack:
        listening = stack.enter_context(_bound(settings))
        require_tokens(settings)
        settings.paths.create()
        migrate.ensure_ready(settings.database_url)
        database = Database(settings.database_url, must_be_sound=True)
        stack.callback(database.close)
        judge = None
        if judging is Judging.ALWAYS or (judging is Judging.AUTO and not _somebody_judges(database)):
            daemon = stack.enter_context(opening.opened(settings, stopped=lambda: stop.asked))
            judge = _Judge(daemon, stop)
        host, port = listening.getsockname()[:2]
        log.story("serving", url=_url(host, port), docs=f"{_url(host, port)}/docs", judging=judge is not None)
        on_listening(_url(host, port))
        with judge or nullcontext():
            if judge is None:
                Notifier.from_environment().ready(f"serving {_url(host, port)}")
            _run(settings, database, listening, stop)
    if judge is not None and judge.fault is not None:
        raise judge.fault


def require_tokens(settings: Settings) -> None:
    """Raise `OperatorError` when everybody on the network could submit."""
    tokens = Tokens.of(settings)
    if tokens.callers():
        return
    if settings.results_for == "submitter":
        raise OperatorError(
            "results are for submitters, and without tokens nobody can tell who asks", hint="type: evald token NAME"
        )
    if is_loopback(settings.http.host):
        return
    raise OperatorError(
        f"http.host is {settings.http.host}, which others can reach, and there are no tokens in {tokens.path}",
        hint="type: evald token NAME   (or serve on 127.0.0.1)",
    )


@contextmanager
def _bound(settings: Settings) -> Iterator[socket.socket]:
    host, port = settings.http.host, settings.http.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise OperatorError(f"http.host {host!r} is no address", hint="for example 127.0.0.1 or 0.0.0.0") from error
    with bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNREAD_MS)
            bound.bind(address)
            bound.listen(_BACKLOG)
        except OSError as error:
            hint = f"another program uses it? try --port {port + 1 if 0 < port < 65535 else 0}"  # noqa: PLR2004
            raise OperatorError(f"cannot listen on {host} port {port}: {error.strerror}", hint=hint) from error
        yield bound


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _somebody_judges(database: Database) -> bool:
    """Whether a daemon is at work. The database alone does not tell: a daemon of this host that was killed a moment ago
    still looks alive there. Raises `OperatorError` for a damaged one."""
    here = Owner.current()
    try:
        there = History(database).daemons()
    except StorageDamaged:
        service.require_soundness(database)
        there = History(database).daemons()
    return any(daemon.is_there and Owner.of(daemon.owner).may_live(here) for daemon in there)


class _Server(uvicorn.Server):
    """Leaves signals to us."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _run(settings: Settings, database: Database, listening: socket.socket, stop: Stop) -> None:
    app = make_app(settings, database)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_S,
        timeout_keep_alive=_KEEP_ALIVE_S,
        http=Connection,
        backlog=_BACKLOG,
    )
    log.adopt("uvicorn", logging.ERROR)  # what it warns of are mistakes of clients, who have been told
    log.adopt("asyncio", logging.ERROR)
    server = _Server(config)

    async def run() -> None:
        loop = asyncio.get_running_loop()

        def end() -> None:
            server.should_exit = True
            with suppress(RuntimeError):  # the loop has ended already
                loop.call_soon_threadsafe(app.state.desk.stop)

        stop.add(end)
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        looking = asyncio.create_task(_looked_through(database, end))
        try:
            await server.serve(sockets=[listening])
        finally:
            looking.cancel()
        if looking.done() and not looking.cancelled():
            await looking

    gc.collect()
    gc.freeze()  # what was imported is not looked through again: nobody was answered for a tenth of a second then
    sys.setswitchinterval(_TURN_S)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # every client is an open file
    with asyncio.Runner(loop_factory=_loop) as runner:
        runner.run(run())


async def _looked_through(database: Database, end: Callable[[], None]) -> None:
    """Look through the database whenever a read has told of damage. Where it is damaged: end the server, and raise
    `OperatorError`."""
    limiter = anyio.CapacityLimiter(1)
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        if database.damage is None:
            continue
        try:
            await anyio.to_thread.run_sync(service.require_soundness, database, limiter=limiter)
        except OperatorError:
            end()
            raise


def _loop() -> asyncio.AbstractEventLoop:
    """An event loop without epoll. What epoll watches is counted for the user, which may be that of cells as well; then
    a cell could use it up."""
    return asyncio.SelectorEventLoop(selectors.PollSelector())


class _Judge:
    """A daemon in a thread, for the duration of a block. If it ends by itself, so does the server."""

    def __init__(self, daemon: service.Service, stop: Stop) -> None:
        self._daemon = daemon
        self._stop = stop
        self._thread = threading.Thread(target=self._run, name="daemon")
        self.fault: EvaldError | None = None

    def __enter__(self) -> _Judge:
        self._stop.add(self._daemon.stop)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._daemon.stop()
        self._thread.join()

    def _run(self) -> None:
        try:
            self._daemon.run()
        except EvaldError as error:
            self.fault = error
        except Exception as error:  # noqa: BLE001 - a thread's main: what ends it ends the server, and is told
            log.LOGGER.error("the daemon in this server has a fault", exc_info=error)
            self.fault = HarnessError(f"the daemon in this server has a fault: {type(error).__name__}: {error}")
        finally:
            self._stop()
