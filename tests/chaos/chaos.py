"""`make chaos`: several daemons on one inbox, killed at every durable step, frozen and thawed; then the books are
checked.

Every bundle carries a serial number. At the end each must have been judged and published exactly once and lie in
exactly one shelf, and nothing may be left behind anywhere else. The engine is the shipped rehearsal engine: what is
under test is everything around the judging. Where there are several daemons, the first plays a host without a GPU, and
some bundles require one. Prints what it did; exit 0 when nothing was lost and nothing doubled.

    python tests/chaos/chaos.py --bundles 500 --kills 200 --daemons 3 --db postgres --seed 7
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import postgres_server
from evald_processes import Evald

from daemon import failpoints
from daemon.config import Settings
from daemon.db.connection import Database
from daemon.db.history import History
from daemon.lifecycle import JobState

LEASE_S = 3.0
DRAIN_LIMIT_S = 480.0
KINDS = ("folder", "folder", "folder", "archive", "json", "slow", "rejected", "corrupt", "torn", "twin", "gpu", "gpu")


@dataclass
class Books:
    """What was dropped: serial number to kind, and the daemons' deaths."""

    dropped: dict[int, str] = field(default_factory=dict)
    kills: int = 0
    freezes: int = 0
    stops: int = 0


class Chaos:
    """One run over one home."""

    def __init__(self, home: Path, database: str | None, daemons: int, dice: random.Random) -> None:
        self.home = home
        self.database = database
        self.dice = dice
        self.books = Books()
        self.running: list[subprocess.Popen[bytes] | None] = [None] * daemons
        self.log = (home.parent / "daemons.log").open("ab")
        Settings(home=home).paths.create()

    # -- daemons ----------------------------------------------------------------------------------------------

    def start(self, *, deadly: bool, has_gpu: bool = True) -> subprocess.Popen[bytes]:
        variables = {
            "EVALD_HOME": str(self.home),
            "EVALD_ENGINE": "rehearsal",
            "EVALD_REHEARSAL_S": "0.02",
            "EVALD_LEASE_S": str(LEASE_S),
            "EVALD_RECONCILE_S": "1",
            "EVALD_SCAN_INTERVAL_S": "0.2",
            "EVALD_QUIET_S": "1.5",
            "EVALD_TORN_AFTER_S": "3",
            "EVALD_MAX_ATTEMPTS": "10000",
            "EVALD_CLAIM_AHEAD": "16",
            "EVALD_MIN_FREE_BYTES": "1",
            "EVALD_SLOTS": "2",
            "EVALD_DEVICE": "auto" if has_gpu else "cpu",
        }
        if self.database:
            variables["EVALD_DATABASE"] = self.database
        if deadly:
            step = self.dice.choice(failpoints.STEPS)
            variables["EVALD_TEST_FAILPOINTS"] = f"{step}={self.dice.choice(('1', '0.3', '0.1'))}"
        return Evald("run", env={**os.environ, **variables}, stdout=self.log, stderr=self.log)

    def tend(self, *, deadly: bool) -> None:
        """Count the dead and replace them."""
        for slot, process in enumerate(self.running):
            if process is not None and process.poll() is None:
                continue
            if process is not None and process.returncode == -signal.SIGKILL:
                self.books.kills += 1
            elif process is not None and process.returncode not in (0, -signal.SIGTERM):  # -15: it had not begun yet
                raise SystemExit(f"a daemon ended with {process.returncode}; see {self.log.name}")
            self.running[slot] = self.start(deadly=deadly, has_gpu=slot > 0 or len(self.running) == 1)

    def hurt(self) -> None:
        """Kill, stop or freeze a random daemon."""
        process = self.dice.choice(self.running)
        if process is None or process.poll() is not None:
            return
        what = self.dice.random()
        if what < 0.75:
            process.kill()
        elif what < 0.85:
            process.terminate()
            self.books.stops += 1
        else:
            process.send_signal(signal.SIGSTOP)
            time.sleep(LEASE_S + 1)
            process.send_signal(signal.SIGCONT)
            self.books.freezes += 1

    def stop_all(self) -> None:
        for process in self.running:
            if process is not None and process.poll() is None:
                process.terminate()
        for process in self.running:
            if process is not None:
                process.wait(300)

    # -- bundles ----------------------------------------------------------------------------------------------

    def drop(self, serial: int) -> None:
        """One bundle of a random kind."""
        kind = self.dice.choice(KINDS)
        self.books.dropped[serial] = kind
        inbox, outside = self.home / "inbox", self.home.parent / "outside"
        outside.mkdir(exist_ok=True)
        requires = {"requires": {"gpu": "H200"}} if kind == "gpu" else {}
        document = json.dumps(contract(serial) | requires)
        name = f"twin{serial}" if kind == "twin" else f"bundle{serial}"
        folder = outside / name
        folder.mkdir()
        (folder / "contract.json").write_text(document, "utf-8")
        if kind in ("folder", "twin", "gpu"):
            # Twins share one dropped name: while the earlier is still in the inbox, the move fails and is tried again.
            target = inbox / ("twin" if kind == "twin" else name)
            while True:
                with contextlib.suppress(OSError):
                    folder.rename(target)
                    return
                self.tend(deadly=True)
                time.sleep(0.05)
        if kind == "archive":
            with tarfile.open(outside / f"{name}.tar.gz", "w:gz") as archive:
                archive.add(folder, arcname=name)
            (outside / f"{name}.tar.gz").rename(inbox / f"{name}.tar.gz")
        elif kind == "json":
            (folder / "contract.json").rename(inbox / f"{name}.json")
        elif kind == "slow":
            target = inbox / name
            target.mkdir()
            half = len(document) // 2
            with (target / "contract.json").open("w") as stream:
                stream.write(document[:half])
                stream.flush()
                time.sleep(0.05)
                stream.write(document[half:])
        elif kind == "rejected":
            (inbox / f".{name}.tmp").write_text(json.dumps({"kernel": {}, "labels": {"serial": str(serial)}}), "utf-8")
            (inbox / f".{name}.tmp").rename(inbox / f"{name}.json")
        elif kind == "corrupt":
            (outside / "corrupt").write_bytes(os.urandom(2000))
            (outside / "corrupt").rename(inbox / f"{name}.tar.gz")
        elif kind == "torn":
            target = inbox / name
            target.mkdir()
            (target / "contract.json").write_text(document[:-30], "utf-8")

    # -- the books --------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Let healthy daemons finish everything."""
        deadline = time.monotonic() + DRAIN_LIMIT_S
        settings = Settings(home=self.home)
        database = Database(self.database or settings.database_url)
        try:
            while True:
                self.tend(deadly=False)
                counts = History(database).counts_by_state()
                finished = counts[JobState.FINISHED]
                left = list(settings.paths.inbox.iterdir()) + list(settings.paths.work.iterdir())
                if finished >= len(self.books.dropped) and not left:
                    return
                if time.monotonic() > deadline:
                    raise SystemExit(f"not drained: {dict(counts)}, left {[path.name for path in left][:10]}")
                time.sleep(0.2)
        finally:
            database.close()

    def audit(self) -> list[str]:
        """Everything that is wrong, in words."""
        settings = Settings(home=self.home)
        database = Database(self.database or settings.database_url)
        try:
            return self._audit_jobs(History(database), settings) + self._audit_folders(settings)
        finally:
            database.close()

    def _audit_jobs(self, history: History, settings: Settings) -> list[str]:
        """Every job finished, with one result and one publication."""
        faults: list[str] = []
        # A withdrawn job is a bundle that a stopping daemon gave back: it was judged as another job, or is missing from
        # its shelf, which the other half of the audit sees. It must not have a result of its own.
        jobs = [job for job in history.jobs(limit=100_000).jobs if job.state is not JobState.WITHDRAWN]
        states = Counter(job.state for job in jobs)
        if set(states) - {JobState.FINISHED}:
            faults.append(f"jobs not finished: {dict(states)}")
        if len(jobs) != len(self.books.dropped):
            faults.append(f"{len(self.books.dropped)} dropped, {len(jobs)} jobs")
        published = Counter(path.parent.name for path in settings.paths.results.glob("[0-9]*/*/result.json"))
        known = {job.job_id for job in jobs}
        faults += [f"job {job_id} has no result" for job_id in known - set(published)]
        faults += [f"result {job_id} has no job" for job_id in set(published) - known]
        faults += [f"job {job_id} published {count} times" for job_id, count in published.items() if count > 1]
        for job in jobs:
            publications = [event for event in history.events(job.job_id) if event.kind in ("published", "finished")]
            if len(publications) > 1:
                faults.append(f"job {job.job_id}: {len(publications)} publication events")
        return faults

    def _audit_folders(self, settings: Settings) -> list[str]:
        """Every bundle on exactly one shelf, nothing anywhere else."""
        faults: list[str] = []
        paths = settings.paths
        shelves = (paths.archive, paths.rejected, paths.quarantine)
        shelved = Counter(serial_of(entry.name) for shelf in shelves for entry in shelf.iterdir())
        twins = sum(kind == "twin" for kind in self.books.dropped.values())
        for serial, kind in self.books.dropped.items():
            if kind != "twin" and shelved[serial] != 1:
                faults.append(f"bundle {serial} ({kind}) lies in {shelved[serial]} places")
        if shelved[-1] != twins:
            faults.append(f"{twins} twins dropped, {shelved[-1]} put away")
        for folder in (paths.inbox, paths.work, paths.outbox, paths.jobs):
            faults += [f"left behind: {entry}" for entry in folder.iterdir()]
        return faults


def serial_of(name: str) -> int:
    """The serial number in a shelf entry's name; -1 for a twin."""
    stem = name.partition("@")[0].partition(".")[0]
    return -1 if stem == "twin" else int(stem.removeprefix("bundle"))


def contract(serial: int) -> dict[str, object]:
    return {
        "name": f"serial{serial}",
        "labels": {"serial": str(serial)},
        "kernel": {
            "kernel_type": "torch",
            "source_code": f"# {serial}\nclass Model(nn.Module):\n    def forward(self): return torch.ones(1)\n",
        },
    }


@contextlib.contextmanager
def chosen_database(kind: str) -> Iterator[str | None]:
    """None for SQLite in the home; the URL of a fresh real Postgres otherwise."""
    if kind == "sqlite":
        yield None
        return
    with postgres_server.running() as server:
        yield server.create_database()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bundles", type=int, default=60)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--daemons", type=int, default=3)
    parser.add_argument("--db", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    return parser.parse_args()


def storm(chaos: Chaos, bundles: int, kills: int) -> None:
    """Drop bundles and hurt daemons until there were enough of both."""
    serial = 0
    while serial < bundles or chaos.books.kills < kills:
        chaos.tend(deadly=True)
        for _ in range(chaos.dice.randint(1, 4)):
            if serial < bundles:
                chaos.drop(serial)
                serial += 1
        time.sleep(chaos.dice.random() * 0.6)
        if chaos.dice.random() < 0.5:
            chaos.hurt()
    for process in chaos.running:
        if process is not None:
            process.kill()


def main() -> int:
    arguments = parse()
    base = Path(tempfile.mkdtemp(prefix="evald-chaos-"))
    print(f"chaos: {vars(arguments)} in {base}", flush=True)
    started = time.monotonic()
    with chosen_database(arguments.db) as database:
        chaos = Chaos(base / "home", database, arguments.daemons, random.Random(arguments.seed))
        try:
            storm(chaos, arguments.bundles, arguments.kills)
            chaos.drain()
            chaos.stop_all()
            faults = chaos.audit()
        finally:
            for process in chaos.running:
                if process is not None and process.poll() is None:
                    process.kill()
                    process.wait()
    books = chaos.books
    print(
        f"{len(books.dropped)} bundles {dict(Counter(books.dropped.values()))}, {books.kills} kills, "
        f"{books.freezes} freezes, {books.stops} stops, {time.monotonic() - started:.0f} s"
    )
    for fault in faults[:50]:
        print(f"FAULT {fault}")
    print("zero lost, zero doubled" if not faults else f"{len(faults)} faults; kept in {base}")
    if not faults:
        shutil.rmtree(base)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
