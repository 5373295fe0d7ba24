"""A real Postgres for tests: a fresh cluster in a temporary folder, on a unix socket, thrown away at the end.

Usage: `with running() as server: url = server.create_database()`. As root, the server runs as `postgres` or `nobody`,
because Postgres refuses to run as root. Raises `PostgresMissing` with the reason when there is none to start.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg

START_LIMIT_S = 300
STOP_LIMIT_S = 120
_POLL_S = 0.05


class PostgresMissing(Exception):  # noqa: N818 - a reason to skip
    """No Postgres can be started here; the message says why."""


@dataclass(frozen=True)
class PostgresServer:
    """A running cluster. `socket_folder` holds its unix socket; anybody who can reach that may connect as `evald`."""

    socket_folder: Path
    process: subprocess.Popen[bytes]

    def create_database(self, template_url: str | None = None, *, options: str = "") -> str:
        """The URL of a new database: empty, or a copy of the one at `template_url`, to which nobody is connected.
        `options` of CREATE DATABASE need an empty template."""
        name = f"test_{uuid.uuid4().hex}"
        template = "template1" if template_url is None else _database_name(template_url)
        template = "template0" if options else template
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" {options}')
        return f"postgresql://evald@/{name}?host={self.socket_folder}"

    def drop_database(self, url: str) -> None:
        """Drop what `create_database` made, whoever is connected."""
        with psycopg.connect(self._conninfo("postgres"), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{_database_name(url)}" WITH (FORCE)')

    def _conninfo(self, database: str) -> str:
        return f"host={self.socket_folder} user=evald dbname={database}"


def _database_name(url: str) -> str:
    return url.rpartition("@/")[2].partition("?")[0]


@contextmanager
def running() -> Iterator[PostgresServer]:
    """Start a cluster, and stop it and delete its files at the end. Waits at most `START_LIMIT_S` for it."""
    binaries = _binaries()
    user = _unprivileged()
    # A unix socket's path may have 107 bytes: a short folder, whatever pytest's temporary folder is called.
    folder = Path(tempfile.mkdtemp(prefix="evald-pg-", dir="/tmp"))
    try:
        if user is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        _initdb(binaries, folder, user)
        process = _start(binaries, folder, user)
        try:
            _wait_until_ready(folder, process)
            folder.chmod(0o755)
            yield PostgresServer(folder, process)
        finally:
            _stop(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    for folder in folders:
        if (folder / "postgres").exists() and (folder / "initdb").exists():
            return folder
    raise PostgresMissing(
        "no Postgres binaries: looked on PATH and in /usr/lib/postgresql/*/bin (apt install postgresql)"
    )


def _version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


def _unprivileged() -> pwd.struct_passwd | None:
    """The user to run as; None: this one."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresMissing("running as root, and there is neither a user postgres nor nobody to run Postgres as")


def _as_user(user: pwd.struct_passwd | None) -> list[str]:
    if user is None:
        return []
    if shutil.which("setpriv") is None:
        raise PostgresMissing("running as root without setpriv (util-linux) to become another user")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def _initdb(binaries: Path, folder: Path, user: pwd.struct_passwd | None) -> None:
    options = ["--username=evald", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
    argv = [*_as_user(user), str(binaries / "initdb"), "-D", str(folder / "data"), *options]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=START_LIMIT_S, check=False)
    if done.returncode != 0:
        raise PostgresMissing(f"initdb failed: {done.stderr.strip()[-500:]}")


def _start(binaries: Path, folder: Path, user: pwd.struct_passwd | None) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "full_page_writes": "off",
        "shared_buffers": "32MB",
        "max_connections": "200",
    }
    flags = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
    argv = [*_as_user(user), str(binaries / "postgres"), "-D", str(folder / "data"), *flags]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def _wait_until_ready(folder: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with suppress(psycopg.OperationalError):
            psycopg.connect(f"host={folder} user=evald dbname=postgres").close()
            return
        time.sleep(_POLL_S)
    raise PostgresMissing(f"Postgres did not start: {(folder / 'log').read_text(errors='replace')[-500:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)  # fast shutdown: open sessions are ended
    try:
        process.wait(STOP_LIMIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
